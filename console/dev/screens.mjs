/**
 * Pictures of every page, light, dark and on a phone, against the mock:
 *
 *     npm run build && npm run screens -- DIRECTORY
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launchBrowser, signIn } from './browser.mjs';
import { workspaces } from './mock/data.mjs';
import { failure, fullHouse, startMock } from './mock/server.mjs';
import { allowed, watch } from './mock/watches.mjs';

const directory = process.argv[2] ?? '../test-results/console';
const only = process.argv[3];
await mkdir(directory, { recursive: true });

const looks = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1280, height: 800 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1280, height: 800 } },
  { name: 'phone', colorScheme: 'light', viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true },
  { name: 'narrow', colorScheme: 'dark', viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true },
].filter((look) => !only || look.name === only);

const browser = await launchBrowser();
for (const look of looks) {
  const mock = await startMock({ pace: 40, resume: true, pass: true });
  const { name, ...settings } = look;
  const context = await browser.newContext(settings);
  const page = await context.newPage();
  page.on('console', (message) => {
    const { url } = message.location();
    if (message.type() === 'error' && !/status of|net::ERR_|WebSocket/.test(message.text())) report(name, `${message.text()} ${url}`);
  });
  page.on('pageerror', (error) => report(name, error.message));
  await tour(page, mock, (shot) => page.screenshot({ path: join(directory, `${name}-${shot}.png`) }));
  await context.close();
  mock.stop();
}
await browser.close();

function report(look, text) {
  process.stderr.write(`${look}: ${text}\n`);
  process.exitCode = 1;
}

async function tour(page, mock, shoot) {
  const { url } = mock;
  await page.goto(url);
  await page.getByLabel('Username').fill('admin');
  await shoot('sign-in');
  await page.getByLabel('Password').fill('wrong');
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const answered = page.waitForResponse('**/auth/login');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await answered;
  }
  await page.getByText('try again in').waitFor();
  await shoot('sign-in-throttled');
  await signIn(page, url);
  await page.getByRole('button', { name: 'Launch' }).first().waitFor();
  await shoot('catalogue-empty');

  mock.refuseLaunch = failure(fullHouse.code, fullHouse.message, fullHouse);
  await page.getByRole('button', { name: 'Launch' }).first().click();
  await page.getByRole('alert').waitFor();
  await page.getByRole('alert').scrollIntoViewIfNeeded();
  await shoot('launch-refused');
  mock.refuseLaunch = null;

  const admin = { id: 'usr-admin', name: 'admin' };
  const starting = mock.add(admin, workspaces[0], 'london', { choice: { zone: 'london', because: 'you chose it', elsewhere_because: null, distance_ms: 11.7, meant_distance_ms: 11.7 }, progress: { step: 'image', message: 'Fetching the image: 182 of 410 MB', percent: 44 } });
  await page.goto(`${url}/sessions/${starting.id}`);
  await page.getByText('Fetching').first().waitFor();
  await shoot('launching');

  const failed = mock.add(admin, workspaces[1], 'virginia', {
    state: 'failed',
    progress: { step: 'container', message: '', percent: null },
    reason: 'Docker Engine on agent-virginia-1 did not answer within 30 s. Launch again, or choose another zone.',
    ended_at: new Date().toISOString(),
  });
  await page.goto(`${url}/sessions/${failed.id}`);
  await page.getByRole('button', { name: 'How it was placed' }).click();
  await page.getByText('Candidates').waitFor();
  await shoot('failed');

  mock.add({ id: 'usr-ada', name: 'ada' }, workspaces[2], 'virginia', { state: 'unreachable' });
  const choice = { zone: 'london', because: 'it is the nearest to you, as measured', elsewhere_because: 'none of its agents fits', distance_ms: 82.4, meant_distance_ms: 11.7 };
  const relaunch = { zone: 'london', because: 'an administrator moved you to london' };
  const moved = mock.add(admin, workspaces[1], 'virginia', { state: 'running', choice, relaunch, started_at: new Date(Date.now() - 6e5).toISOString() });
  const running = mock.add(admin, workspaces[0], 'london', { state: 'running', choice: { ...choice, elsewhere_because: null, distance_ms: 11.7 }, started_at: new Date(Date.now() - 3.9e6).toISOString(), created_at: new Date(Date.now() - 3.9e6).toISOString() });
  await page.goto(url);
  await page.getByRole('heading', { name: 'Running now' }).waitFor();
  await shoot('catalogue');
  await page.goto(`${url}/sessions/${moved.id}/relaunch`);
  await page.getByRole('button', { name: 'End and relaunch' }).waitFor();
  await shoot('relaunch');
  await page.goto(`${url}/sessions`);
  await page.getByLabel('Show ended ones').check({ force: true });
  await page.getByText('Docker Engine').waitFor();
  await shoot('my-sessions');

  await page.goto(`${url}/homes`);
  await page.getByRole('table').waitFor();
  await shoot('my-homes');
  await page.getByRole('button', { name: 'Reset the home of Desktop' }).click();
  await page.getByRole('dialog').waitFor();
  await shoot('my-homes-reset');

  await administration(page, url, shoot);

  await page.goto(`${url}/nowhere`);
  await page.getByText('no page').waitFor();
  await shoot('not-found');
  if (await page.getByRole('button', { name: 'Menu' }).isVisible()) {
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.waitForTimeout(400);
    await shoot('menu');
  }
  await viewer(page, mock, running, shoot);
}

/** Every page of administrators, and what each opens. */
async function administration(page, url, shoot) {
  const panel = page.getByRole('dialog');
  const visit = async (name, button, what = name) => {
    await page.goto(`${url}/admin/${name}`);
    await page.getByRole('table').first().waitFor();
    await shoot(`admin-${what}`);
    if (button === null) return;
    await page.getByRole('button', { name: button }).first().click();
    await panel.waitFor();
    await page.waitForTimeout(500);
    await shoot(`admin-${what}-panel`);
    await panel.getByRole('button').last().scrollIntoViewIfNeeded();
    await page.waitForTimeout(200);
    await shoot(`admin-${what}-panel-end`);
  };
  await visit('zones', 'Show london');
  await panel.getByLabel('image_policy', { exact: true }).scrollIntoViewIfNeeded();
  await shoot('admin-zones-image-policy');
  await panel.getByLabel('alternate_zones', { exact: true }).fill('atlantis');
  await panel.getByLabel('isolated', { exact: true }).check({ force: true });
  await panel.getByLabel('isolated', { exact: true }).scrollIntoViewIfNeeded();
  await shoot('admin-zones-wrong');
  await page.goto(`${url}/admin/zones`);
  await page.getByRole('button', { name: 'Move people' }).click();
  await panel.getByRole('button', { name: 'Show what it would do' }).click();
  await panel.getByRole('button', { name: 'Move them' }).waitFor();
  await page.waitForTimeout(500);
  await shoot('admin-zones-move');
  await panel.getByRole('button').last().scrollIntoViewIfNeeded();
  await page.waitForTimeout(200);
  await shoot('admin-zones-move-end');
  await panel.getByLabel('To zone').selectOption('singapore');
  await panel.getByRole('button', { name: 'Show what it would do' }).click();
  await panel.getByText('may not be moved').scrollIntoViewIfNeeded();
  await shoot('admin-zones-move-refused');
  await visit('nodes', 'Show agent-london-2');
  await visit('sessions', /^Explain/);
  await page.goto(`${url}/admin/sessions`);
  await page.getByText('Refused launches').click();
  await page.getByRole('button', { name: /^Explain why/ }).first().click();
  await panel.waitFor();
  await page.waitForTimeout(500);
  await shoot('admin-refusal');
  await page.goto(`${url}/admin/sessions`);
  await page.getByText('Homes', { exact: true }).click();
  await page.getByRole('table', { name: 'Homes' }).waitFor();
  await page.waitForTimeout(500);
  await shoot('admin-homes');
  await visit('workspaces', 'Show Browser');
  await visit('images', /^Show .*browser.* in london/);
  await page.goto(`${url}/admin/images`);
  await page.getByRole('button', { name: 'Registry logins' }).click();
  await page.getByRole('table', { name: 'Logins of london' }).waitFor();
  await page.waitForTimeout(500);
  await shoot('admin-images-logins');
  await visit('users', 'Show ada');
  await page.goto(`${url}/admin/users`);
  await page.getByRole('button', { name: 'New user' }).click();
  await page.waitForTimeout(500);
  await shoot('admin-users-new');
  await visit('groups', 'Show Guests');
  await page.goto(`${url}/admin/groups`);
  await page.getByRole('button', { name: 'New group' }).click();
  await page.waitForTimeout(500);
  await shoot('admin-groups-new');
  await visit('audit', /^Show/);
  await page.goto(`${url}/api-keys`);
  await page.getByRole('table').waitFor();
  await shoot('api-keys');
  await page.getByRole('button', { name: 'New key' }).click();
  await page.waitForTimeout(500);
  await shoot('api-keys-new');
  await page.getByLabel('Name').fill('backups');
  await page.getByLabel('sessions:view').check({ force: true });
  await page.getByRole('button', { name: 'Make the key' }).click();
  await page.getByText('Copy the key now').waitFor();
  await shoot('api-keys-made');
  await page.goto(url);
  await page.getByRole('button', { name: 'admin', exact: true }).click();
  await page.waitForTimeout(300);
  await shoot('person-menu');
  await page.getByRole('menuitem', { name: 'Change password' }).click();
  await page.waitForTimeout(500);
  await shoot('change-password');
}

async function viewer(page, mock, session, shoot) {
  await page.goto(`${mock.url}/sessions/${session.id}`);
  await page.getByRole('application').waitFor();
  await page.waitForFunction(() => !document.body.innerText.includes('first picture'));
  await page.waitForTimeout(1500);
  await page.keyboard.type('hello');
  await page.waitForTimeout(200);
  await shoot('viewer');
  await page.getByRole('button', { name: 'Keys' }).click();
  await page.waitForTimeout(300);
  await shoot('viewer-keys');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Clipboard' }).click();
  await page.waitForTimeout(300);
  await shoot('viewer-clipboard');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'End session' }).click();
  await page.waitForTimeout(300);
  await shoot('viewer-end');
  await page.getByRole('button', { name: 'Keep working' }).click();
  await page.getByRole('button', { name: 'Hide the toolbar' }).click();
  await page.waitForTimeout(500);
  await shoot('viewer-folded');
  await page.getByRole('button', { name: 'Show the toolbar' }).click();
  await frozen(page, mock, session, shoot);
  await limits(page, mock, session, shoot);
  await looking(page, mock, session, shoot);
  await troubles(page, mock, shoot);
  mock.streams.forEach((stream) => stream.notice(3, 'A later viewer took this session.'));
  await page.getByText('open elsewhere').waitFor();
  await shoot('viewer-superseded');
  await page.getByRole('button', { name: 'Use it here' }).click();
  await page.getByText('open elsewhere').waitFor({ state: 'detached' });
  mock.end(session, 'An administrator ended it for maintenance of the host.');
  await page.getByText('has ended').first().waitFor();
  await page.getByText('maintenance').first().waitFor();
  await shoot('ended');
}

function soon(seconds) {
  return new Date(Date.now() + seconds * 1_000).toISOString();
}

/** A session that may not write to its home: over its desktop, and among the others. */
async function frozen(page, mock, session, shoot) {
  session.frozen = {
    because: 'storage_away',
    message: "the host agent-london-1 does not reach the storage that this session's home is on",
    hint: 'Nothing in it is lost: it goes on by itself, as you left it, when the storage is back. If that takes long, tell an administrator.',
  };
  mock.changed(session);
  await page.getByText('stands still').waitFor();
  await shoot('viewer-frozen');
  await page.getByRole('link', { name: 'Back to the catalogue' }).click();
  await page.getByText('does not reach the storage').waitFor();
  await shoot('catalogue-frozen');
  session.frozen = null;
  await page.goto(`${mock.url}/sessions/${session.id}`);
  await page.getByRole('application').waitFor();
  await page.waitForFunction(() => !document.body.innerText.includes('first picture'));
}

/** What the viewer says before a limit is reached. */
async function limits(page, mock, session, shoot) {
  const say = async (what, text, shot) => {
    Object.assign(session, what);
    mock.changed(session);
    await page.getByRole('status').filter({ hasText: text }).waitFor();
    await page.waitForTimeout(800);
    await shoot(shot);
  };
  await say({ expires_at: soon(280) }, 'time limit', 'viewer-expires');
  await say({ expires_at: null, idle_ends_at: soon(25), idle_action: 'end' }, 'still there', 'viewer-idle');
  Object.assign(session, { idle_ends_at: null, idle_action: null });
  mock.changed(session);
  await page.getByRole('button', { name: 'Stay' }).waitFor({ state: 'detached' });
}

/** Somebody asks to look on, and does; and the same from the other side. */
async function looking(page, mock, session, shoot) {
  const grace = { id: 'usr-grace', name: 'grace' };
  session.watches = [watch(grace)];
  mock.changed(session);
  await page.getByRole('alertdialog').waitFor();
  await page.waitForTimeout(500);
  await shoot('viewer-asked-to-look-on');
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByText('grace is looking on').waitFor();
  await page.waitForTimeout(300);
  await shoot('viewer-looked-on');
  session.watches = [];
  mock.changed(session);
  await page.getByText('grace is looking on').waitFor({ state: 'detached' });
  const { pathname } = new URL(page.url());

  const theirs = mock.add({ id: 'usr-ada', name: 'ada' }, workspaces[0], 'london', { state: 'running', started_at: soon(-300) });
  await page.goto(`${mock.url}/admin/sessions`);
  await page.getByRole('button', { name: 'Explain Desktop of ada' }).click();
  await page.getByRole('button', { name: 'Ask to look on' }).click();
  await page.getByLabel('Why').fill('your ticket 4711: the editor does not save');
  await page.waitForTimeout(500);
  await shoot('watch-question');
  await page.getByRole('button', { name: 'Ask', exact: true }).click();
  await page.getByText('Waiting for ada').waitFor();
  await shoot('watch-waiting');
  Object.assign(theirs.watches[0], allowed());
  mock.changed(theirs);
  await page.getByRole('application').waitFor();
  await page.waitForFunction(() => !document.body.innerText.includes('Connecting to'));
  await page.waitForTimeout(1_000);
  await shoot('watch-looking-on');
  Object.assign(theirs.watches[0], { state: 'ended', because: 'ada stopped it', ended_at: soon(0) });
  mock.changed(theirs);
  await page.getByText('Ada stopped it').waitFor();
  await shoot('watch-over');
  mock.sessions.delete(theirs.id);

  await page.goto(`${mock.url}${pathname}`);
  await page.getByRole('application').waitFor();
  await page.waitForFunction(() => !document.body.innerText.includes('first picture'));
  await page.waitForTimeout(1_000);
}

/** What the viewer says while something is not as it should be. */
async function troubles(page, mock, shoot) {
  const stream = () => [...mock.streams.values()].at(-1);
  const said = (text) => page.getByRole('status').filter({ hasText: text });
  mock.closed = true;
  stream().mute();
  await said('No answer on this connection').waitFor();
  await page.waitForTimeout(1_800);
  await shoot('viewer-silent');
  mock.closed = false;
  await said('No answer').waitFor({ state: 'detached' });

  mock.closed = true;
  stream().cut();
  await said('No relay of').waitFor();
  await page.waitForTimeout(4_000);
  await shoot('viewer-no-relay');
  mock.closed = false;
  await said('Reconnecting').waitFor({ state: 'detached' });

  mock.down = true;
  for (const watcher of mock.watchers) watcher.end();
  await said('control plane').waitFor();
  await page.waitForTimeout(800);
  await shoot('viewer-control-away');
  mock.down = false;
  await said('control plane').waitFor({ state: 'detached' });

  await page.context().setOffline(true);
  mock.closed = true;
  stream().cut();
  await said('offline').waitFor();
  await page.waitForTimeout(4_000);
  await shoot('viewer-offline');
  mock.closed = false;
  await page.context().setOffline(false);
  await said('offline').waitFor({ state: 'detached' });

  mock.logins.clear();
  for (const watcher of mock.watchers) watcher.end();
  await said('signed out').waitFor();
  await page.waitForTimeout(800);
  await shoot('viewer-signed-out');
  mock.closed = true;
  stream().cut();
  await page.getByRole('dialog').waitFor();
  await shoot('viewer-sign-in-again');
  mock.closed = false;
  await page.getByLabel('Password').fill('right');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await said('Reconnecting').waitFor({ state: 'detached' });
}
