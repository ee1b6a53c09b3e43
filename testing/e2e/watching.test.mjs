// An administrator looks on at somebody's desktop, with their consent, in two real Chromium windows: asked, allowed, seen, stopped.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { desktopIsLive, launchChromium, signedIn } from './browser.mjs';
import { Meridian, password, sequence } from './meridian.mjs';

const step = sequence(() => meridian.log);
let meridian, browser, session;
/** The page of the person at the desktop, and that of whoever looks on. */
let ada, grace;

before(async () => {
  // The simulated display shows a picture, which is all that is looked at here.
  meridian = await Meridian.make(['--engine', 'simulated']);
  await meridian.start();
  await meridian.signIn();
  const made = async (path, body) => {
    const { status, body: answer } = await meridian.call('POST', path, body);
    assert.equal(status, 201, JSON.stringify(answer));
  };
  for (const username of ['ada', 'grace']) await made('/users', { username, password });
  await made('/groups', { name: 'Help desk', priority: 10, permissions: ['sessions:view', 'sessions:watch'] });
  assert.equal((await meridian.call('PUT', '/groups/Help%20desk/members/grace')).status, 204);
  const login = await meridian.call('POST', '/auth/login', { username: 'ada', password }, null);
  const launched = await meridian.call('POST', '/sessions', { workspace_id: await meridian.workspace('Desktop') }, login.body.token);
  assert.equal(launched.status, 201, JSON.stringify(launched.body));
  session = launched.body.id;
  await meridian.reaches(session, ['running']);
  browser = await launchChromium();
  [ada, grace] = [await signedIn(browser, meridian.url, 'ada'), await signedIn(browser, meridian.url, 'grace')];
}, { timeout: 180_000 });

after(async () => {
  await browser?.close();
  await meridian?.cleanUp();
}, { timeout: 120_000 });

/** Grace asks from the list of sessions. */
async function ask(reason) {
  await grace.goto(`${meridian.url}/admin/sessions`);
  await grace.getByRole('button', { name: 'Explain Desktop of ada' }).click();
  await grace.getByRole('button', { name: 'Ask to look on' }).click();
  const dialog = grace.getByRole('dialog', { name: 'Ask ada to let you look on?' });
  await dialog.getByLabel('Why').fill(reason);
  await dialog.getByRole('button', { name: 'Ask', exact: true }).click();
}

const isAsked = () => grace.getByRole('heading', { name: 'Waiting for ada' }).waitFor();

const question = () => ada.getByRole('alertdialog', { name: 'grace asks to look on' });
const banner = () => ada.getByText('grace is looking on');

step('where nobody has the desktop open, whoever asks is told so', 60_000, async () => {
  await ask('nobody is there');
  await isAsked();
  await grace.getByText('Nobody sees your question yet').waitFor();
  await grace.getByRole('button', { name: 'Take it back' }).click();
  await grace.getByText('You took the question back.').waitFor();
});

step('the person at the desktop is asked over it, and nothing is shown before they answer', 120_000, async () => {
  await ada.goto(`${meridian.url}/sessions/${session}`);
  await desktopIsLive(ada);
  await ask('your ticket 17');
  await question().getByText('your ticket 17').waitFor();
  await grace.getByText('ada sees your question').waitFor();
  assert.equal(await grace.locator('canvas').count(), 0);
  // A key that was meant for the desktop answers nothing; two tabs on is an answer.
  await ada.keyboard.press('Enter');
  await question().waitFor();
});

step('allowed, the other sees the same desktop, and the person sees that they do', 90_000, async () => {
  await question().getByRole('button', { name: 'Allow' }).click();
  await question().waitFor({ state: 'detached' });
  await desktopIsLive(grace);
  await banner().waitFor();
  await grace.getByText('Looking on at Desktop of ada').waitFor();
});

step('the person stops it at a click, and goes on', 60_000, async () => {
  await ada.getByRole('button', { name: 'Stop grace from looking on' }).click();
  await grace.getByRole('heading', { name: 'Looking on is over' }).waitFor();
  await grace.getByText('The person at the desktop stopped it').waitFor();
  assert.equal(await grace.locator('canvas').count(), 0);
  await banner().waitFor({ state: 'detached' });
  await desktopIsLive(ada);
});

step('declined, nothing is shown, and whoever asked cannot ask again at once', 60_000, async () => {
  await ask('once more');
  await question().waitFor();
  await ada.keyboard.press('Tab');
  await ada.keyboard.press('Enter');
  await question().waitFor({ state: 'detached' });
  await grace.getByText('ada declined.').waitFor();
  assert.equal(await grace.locator('canvas').count(), 0);
  await ask('at once');
  await grace.getByText('The person at the desktop has just declined').waitFor();
});

step('all of it is in the audit log, by whom', 30_000, async () => {
  const { body } = await meridian.call('GET', `/audit?target=${session}`);
  const done = body.items.map((row) => `${row.user?.name} ${row.action}`);
  for (const line of ['grace watch_asked', 'grace watch_withdrawn', 'ada watch_declined', 'ada watch_allowed', 'grace watch_began', 'ada watch_ended']) {
    assert.ok(done.includes(line), `${line} is not among ${done.join(', ')}`);
  }
});
