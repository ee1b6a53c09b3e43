// The whole main job, as a person does it: real Chromium, real Docker, the real executable.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { desktopIsLive as liveDesktop, launch as launchFrom, launchChromium, type as typeInto } from './browser.mjs';
import { Meridian, password, waitFor } from './meridian.mjs';

const shots = new URL('../../test-results/', import.meta.url).pathname;
let meridian, browser, context, page;

before(async () => {
  await mkdir(shots, { recursive: true });
  meridian = await Meridian.make(process.env.E2E_SEPARATE ? ['--separate'] : []);
  await meridian.start();
  await meridian.signIn();
  browser = await launchChromium();
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  context.setDefaultTimeout(15_000);
  page = await context.newPage();
});

after(async () => {
  await browser?.close();
  await meridian?.cleanUp();
});

// Each step stands on the one before: after a failure the rest would only wait for what cannot come.
let broken = false;
function step(name, options, body) {
  test(name, options, async (t) => {
    if (broken) return t.skip('an earlier step failed');
    try {
      await body();
    } catch (error) {
      broken = true;
      await page?.screenshot({ path: `${shots}failed.png` }).catch(() => {});
      console.error(meridian.log.slice(-30).join('\n'));
      throw error;
    }
  });
}

const shot = (name) => page.screenshot({ path: `${shots}${name}.png` });

const launch = (name, zone) => launchFrom(page, name, zone);
const desktopIsLive = () => liveDesktop(page);
const type = (text) => typeInto(page, text);

let terminal, terminalContainer;

step('a person signs in and sees the catalogue', { timeout: 60_000 }, async () => {
  await page.goto(meridian.url);
  await page.getByLabel('Username').fill('admin');
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByText('These sign-in details are wrong').waitFor();
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  for (const name of ['Desktop', 'Browser', 'Terminal']) {
    await page.getByRole('heading', { name, exact: true }).waitFor();
  }
  await shot('catalogue');
});

step('Launch leads in the same tab to a live terminal that one can type into', { timeout: 120_000 }, async () => {
  terminal = await launch('Terminal');
  const canvas = await desktopIsLive();
  [terminalContainer] = await meridian.containers(terminal);
  assert.ok(terminalContainer, 'the session has a container');
  await canvas.click({ position: { x: 200, y: 200 } });
  // A shell takes a moment to prompt after its window is there; what is typed earlier is read all the same.
  await type('echo $((6*7)) typed > ~/typed.txt');
  const read = await waitFor('the typed command in the container', 30_000, () =>
    meridian.inside(terminal, 'cat', '/home/user/typed.txt').catch(() => ''));
  assert.equal(read.trim(), '42 typed');
  await shot('terminal');
});

step('a reload leads back to the same workspace', { timeout: 120_000 }, async () => {
  await page.reload();
  const canvas = await desktopIsLive();
  assert.deepEqual(await meridian.containers(terminal), [terminalContainer]);
  await canvas.click({ position: { x: 200, y: 200 } });
  await type('cat ~/typed.txt ~/typed.txt > ~/again.txt');
  const read = await waitFor('the second command in the container', 30_000, () =>
    meridian.inside(terminal, 'cat', '/home/user/again.txt').catch(() => ''));
  assert.equal(read, '42 typed\n42 typed\n');
});

step('text is copied and pasted both ways', { timeout: 120_000 }, async () => {
  await page.getByRole('button', { name: 'Clipboard', exact: true }).click();
  const panel = page.getByLabel('Clipboard of the workspace');
  await panel.fill('pasted from outside: grüße');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await page.getByText('Sent.').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('canvas').first().click({ position: { x: 300, y: 300 } });
  // Counted bytes and no line editing: the reader ends with the text itself, however late it comes, and not with a key that came
  // before it. The paste is the workspace's own, and asynchronous.
  const text = 'pasted from outside: grüße';
  await type(`stty -icanon; head -c ${Buffer.byteLength(text)} > ~/pasted.txt; stty icanon`);
  // Pasted earlier, the text would go to the shell.
  await waitFor('the reader to have opened its file', 20_000, () =>
    meridian.inside(terminal, 'ls', '/home/user/pasted.txt').catch(() => ''));
  await page.keyboard.press('Shift+Insert');
  await waitFor('the pasted text in the container', 30_000, async () =>
    (await meridian.inside(terminal, 'cat', '/home/user/pasted.txt')) === text);

  await type('clear; echo copied-$((40+2))-inside');
  await type('touch ~/echoed.txt');
  await waitFor('the echo', 20_000, () => meridian.inside(terminal, 'ls', '/home/user/echoed.txt').catch(() => ''));
  // The shell is done before its window has painted: what is selected too early is selected again.
  await waitFor('the copied text in the panel', 40_000, async () => {
    await page.locator('canvas').first().click({ position: { x: 300, y: 300 } });
    await page.keyboard.press('Control+Shift+A');
    await page.keyboard.press('Control+Shift+C');
    await page.getByRole('button', { name: 'Clipboard', exact: true }).click();
    const shown = await waitFor('the panel', 4_000, async () => (await panel.inputValue()).includes('copied-42-inside')).catch(() => false);
    await page.keyboard.press('Escape');
    return shown;
  });
});

step('the desktop follows the window', { timeout: 60_000 }, async () => {
  await page.setViewportSize({ width: 900, height: 700 });
  await waitFor('the display to take the new width', 20_000, () =>
    page.locator('canvas').first().evaluate((canvas) => canvas.width > 0 && canvas.width <= 900));
  await page.setViewportSize({ width: 1280, height: 800 });
  await waitFor('the display to take the old width', 20_000, () =>
    page.locator('canvas').first().evaluate((canvas) => canvas.width > 1000));
});

let desktop;

step('a second workspace runs in the other zone', { timeout: 120_000 }, async () => {
  await page.goto(meridian.url);
  desktop = await launch('Desktop', 'virginia');
  await desktopIsLive();
  await shot('desktop');
  const { body } = await meridian.call('GET', `/sessions/${desktop}`);
  assert.deepEqual([body.zone, body.state], ['virginia', 'running']);
});

step('Ctrl-C leaves the workspaces; the next start finds the same containers, files untouched', { timeout: 180_000 }, async () => {
  const before = (await meridian.containers()).sort();
  assert.equal(before.length, 2);
  const how = await meridian.stop('SIGINT');
  assert.deepEqual(how, { code: 0, signal: null });
  assert.deepEqual((await meridian.containers()).sort(), before, 'the workspaces go on without Meridian');
  await meridian.start();
  await meridian.signIn();
  await waitFor('the session to be running', 30_000, async () =>
    (await meridian.call('GET', `/sessions/${terminal}`)).body.state === 'running');
  assert.deepEqual((await meridian.containers()).sort(), before);
  assert.equal((await meridian.inside(terminal, 'cat', '/home/user/typed.txt')).trim(), '42 typed');
  // The address has another port now, so the cookie is sent, and the page is loaded anew.
  await page.goto(`${meridian.url}/sessions/${terminal}`);
  await desktopIsLive();
});

step('End session asks once, and nothing is left of the workspace', { timeout: 120_000 }, async () => {
  for (const session of [terminal, desktop]) {
    await page.goto(`${meridian.url}/sessions/${session}`);
    await desktopIsLive();
    await page.getByRole('button', { name: 'End session', exact: true }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    if (session === terminal) {
      await dialog.getByRole('button', { name: 'Keep working' }).click();
      await dialog.waitFor({ state: 'hidden' });
      assert.equal((await meridian.containers(session)).length, 1);
      await page.getByRole('button', { name: 'End session', exact: true }).first().click();
      await dialog.waitFor();
    }
    await dialog.getByRole('button', { name: 'End session', exact: true }).click();
    await waitFor('the container to be gone', 30_000, async () => (await meridian.containers(session)).length === 0);
    await waitFor('the session to be over', 30_000, async () =>
      (await meridian.call('GET', `/sessions/${session}`)).body.state === 'ended');
  }
  assert.deepEqual(await meridian.containers(), []);
});

step('the administrator sees zones, nodes and sessions', { timeout: 60_000 }, async () => {
  for (const name of ['Zones', 'Nodes', 'Sessions']) {
    await page.goto(meridian.url);
    await page.getByRole('link', { name, exact: true }).first().click();
    const there = name === 'Sessions' ? page.getByText('Refused launches') : page.getByRole('table').getByText('london');
    await there.first().waitFor();
    await shot(name.toLowerCase().replace(' ', '-'));
  }
});
