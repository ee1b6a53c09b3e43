/**
 * The console in a real browser against the mock, doing what a person does and what a bad line does:
 *
 *     npm run build && npm run drive
 *
 * MOCK_DISPLAY=path runs the display parts against a VNC server's unix socket instead of the understudy.
 */

import assert from 'node:assert/strict';
import { launchBrowser, signIn } from './browser.mjs';
import { startMock } from './mock/server.mjs';

const browser = await launchBrowser();
const display = process.env.MOCK_DISPLAY ?? null;

await scenario('launch shows progress and ends in a live desktop at the same address', {}, async ({ page }) => {
  await launch(page);
  assert.match(page.url(), /\/sessions\/ses-/);
  assert.equal(await page.title(), 'Desktop · Meridian');
});

await scenario('keys typed in the desktop reach it in order', {}, async ({ page, stream }) => {
  await launch(page);
  const before = stream().received;
  await page.keyboard.type('abc');
  await until(() => stream().received > before, 'keys');
});

await scenario('the remote size follows the window', {}, async ({ page }) => {
  await launch(page);
  for (const [width, height] of [[900, 700], [1200, 640]]) {
    await page.setViewportSize({ width, height });
    await page.waitForFunction(([w, h]) => {
      const canvas = document.querySelector('canvas');
      return canvas?.width === w && canvas.height === h - 38;
    }, [width, height]);
  }
});

await scenario('a reload comes back to the same desktop', {}, async ({ page, mock }) => {
  await launch(page);
  const address = page.url();
  await page.reload();
  await live(page);
  assert.equal(page.url(), address);
  assert.equal(mock.sessions.size, 1);
});

for (const resume of [false, true]) {
  const name = resume ? 'resumed' : 'restarted';
  await scenario(`a cut line is ${name}, and the picture stays`, { resume }, async ({ page, stream }) => {
    await launch(page);
    await page.evaluate(() => {
      const canvas = document.querySelector('canvas');
      if (canvas) canvas.dataset.first = 'yes';
      window.gaps = 0;
      const look = () => {
        if (![...document.querySelectorAll('canvas')].some((each) => each.width > 0)) window.gaps += 1;
        window.raf = requestAnimationFrame(look);
      };
      look();
    });
    for (let cut = 0; cut < 3; cut += 1) {
      const attaches = stream().highest;
      stream().cut();
      await until(() => stream().highest > attaches && stream().socket, 'a new attach');
      await page.waitForTimeout(300);
    }
    assert.equal(await page.evaluate(() => window.gaps), 0, 'frames without a picture');
    const kept = await page.locator('canvas[data-first]').count();
    assert.equal(kept, resume ? 1 : 0, 'the first canvas');
    const before = stream().received;
    await page.keyboard.type('x');
    await until(() => stream().received > before, 'keys after the cut, without a click');
    assert.deepEqual(stream().log, []);
  });
}

const goings = {
  'closed': (page) => page.close({ runBeforeUnload: true }),
  'led elsewhere': (page) => page.goto('about:blank'),
  'reloaded': (page) => page.reload(),
  'led back to the catalogue': (page) => page.getByRole('link', { name: 'Catalogue' }).click(),
};
for (const [how, go] of Object.entries(goings)) {
  await scenario(`a page that is ${how} says that it leaves its stream`, { resume: true }, async ({ page, stream }) => {
    await launch(page);
    const left = stream();
    await go(page);
    await until(() => left.left, 'the word');
  });
}

await scenario('a silent path is left for another, and a quiet word said until then', { resume: true }, async ({ page, mock, stream }) => {
  await launch(page);
  await keepPicture(page);
  mock.closed = true;
  stream().mute();
  await page.getByRole('status').filter({ hasText: 'No answer on this connection' }).waitFor();
  mock.closed = false;
  await until(() => stream().highest === 2, 'a second attach');
  await page.getByRole('status').filter({ hasText: 'No answer' }).waitFor({ state: 'detached' });
  assert.equal(await pictureKept(page), true);
});

await scenario('a device that was offline is back at once when its network is', { resume: true }, async ({ page, stream, context }) => {
  await launch(page);
  await keepPicture(page);
  await context.setOffline(true);
  stream().cut();
  await page.getByText('This device is offline').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('role')), 'application', 'the focus stays');
  // By now it waits long before it tries again.
  await page.waitForTimeout(8_000);
  const attaches = stream().highest;
  await context.setOffline(false);
  await until(() => stream().highest > attaches && stream().socket, 'a new attach', 2_000);
  await page.getByText('This device is offline').waitFor({ state: 'detached' });
  assert.equal(await pictureKept(page), true);
});

await scenario('a page whose machine has slept notices that its path is dead', { resume: true }, async ({ page, stream }) => {
  await launch(page);
  await keepPicture(page);
  // Everything of the page stands still: scripts, workers, timers.
  const tools = await browser.newBrowserCDPSession();
  const { processInfo } = await tools.send('SystemInfo.getProcessInfo');
  const asleep = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  for (const id of asleep) process.kill(id, 'SIGSTOP');
  try {
    stream().mute();
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    assert.equal(stream().highest, 1);
  } finally {
    for (const id of asleep) process.kill(id, 'SIGCONT');
  }
  await until(() => stream().highest === 2 && stream().socket, 'a new attach', 3_000);
  assert.equal(await pictureKept(page), true);
});

await scenario('a login that ends is renewed over the desktop, which is the same afterwards', { resume: true }, async ({ page, mock, stream }) => {
  await launch(page);
  await keepPicture(page);
  mock.logins.clear();
  stream().cut();
  const dialog = page.getByRole('dialog', { name: 'Sign in to go on' });
  await dialog.waitFor();
  assert.equal(await page.getByLabel('Username').inputValue(), 'admin');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('name')), 'password');
  await page.keyboard.type('right');
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await until(() => stream().highest === 2 && stream().socket, 'a new attach');
  assert.equal(mock.streams.size, 1, 'the same stream');
  assert.equal(await pictureKept(page), true);
  const before = stream().received;
  await page.getByRole('application').click();
  await page.keyboard.type('x');
  await until(() => stream().received > before, 'keys');
});

await scenario('a desktop with a way back outlives the login, and says so', { resume: true, pass: true }, async ({ page, mock, stream }) => {
  await launch(page);
  await keepPicture(page);
  mock.logins.clear();
  for (const watcher of mock.watchers) watcher.end();
  await page.getByText('You have been signed out. Your desktop goes on').waitFor();
  stream().cut();
  await until(() => stream().highest === 2 && stream().socket, 'a new attach');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Not now' }).click();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Password').fill('right');
  await page.keyboard.press('Enter');
  await page.getByText('You have been signed out').waitFor({ state: 'detached' });
  assert.equal(stream().highest, 2, 'the path stays');
  assert.equal(await pictureKept(page), true);
});

await scenario('signing out in one tab leaves no desktop in another', {}, async ({ page, context, mock }) => {
  await launch(page);
  const other = await context.newPage();
  await other.goto(mock.url);
  await other.getByRole('button', { name: /admin/ }).click();
  await other.getByRole('menuitem', { name: 'Sign out' }).click();
  await page.getByLabel('Username').waitFor();
  assert.equal(await page.locator('canvas').count(), 0);
});

await scenario('the control plane is away, and the desktop goes on', { resume: true, pass: true }, async ({ page, mock, stream }) => {
  await launch(page);
  mock.down = true;
  for (const watcher of mock.watchers) watcher.end();
  await page.getByText('control plane does not answer. Your desktop goes on').waitFor();
  stream().cut();
  await until(() => stream().highest === 2 && stream().socket, 'a new attach');
  mock.down = false;
  await page.getByText('control plane does not answer').waitFor({ state: 'detached' });
});

await scenario('a draining path is left without a gap', { resume: true }, async ({ page, stream }) => {
  await launch(page);
  const badge = page.getByText('Reconnecting');
  stream().notice(6, 'Leaving.');
  await until(() => stream().highest === 2, 'a second attach');
  assert.equal(await badge.isVisible(), false);
});

await scenario('text copied there can be pasted here, and back', { clipboard: true }, async ({ page, stream }) => {
  await launch(page);
  stream().sendObject(2, { type: 'text', text: 'von drüben' });
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) === 'von drüben');
  await page.evaluate(() => navigator.clipboard.writeText('from here'));
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await until(() => stream().log.some((entry) => entry.text === 'from here'), 'the text on the other side');
});

await scenario('pasting gives the text first and the key after it', {}, async ({ page, stream }) => {
  await launch(page);
  // A clipboard that the page may not read: only the paste itself hands it over.
  await page.getByRole('button', { name: 'Clipboard' }).click();
  const area = page.getByLabel('Clipboard of the workspace');
  await area.fill('pasted');
  await area.press('Control+A');
  await area.press('Control+X');
  await page.keyboard.press('Escape');
  await page.getByRole('application').focus();
  const keys = [];
  const original = stream().record.bind(stream());
  stream().record = (channel, payload) => {
    keys.push(channel === 2 ? 'text' : 'display');
    original(channel, payload);
  };
  await page.keyboard.press('Control+V');
  await until(() => keys.filter((kind) => kind === 'display').length >= 3, 'the key');
  assert.ok(keys.includes('text'), 'the text was sent');
  assert.ok(keys.indexOf('text') < keys.lastIndexOf('display'));
});

await scenario('the clipboard panel sends, and shows what comes back', {}, async ({ page, stream }) => {
  await launch(page);
  await page.getByRole('button', { name: 'Clipboard' }).click();
  await page.getByLabel('Clipboard of the workspace').fill('shout');
  await page.getByRole('button', { name: 'Send' }).click();
  await until(() => stream().log.some((entry) => entry.text === 'shout'), 'the text');
  await page.waitForFunction(() => document.querySelector('textarea')?.value === 'SHOUT' || [...document.querySelectorAll('textarea')].some((area) => area.value === 'SHOUT'));
});

await scenario('the toolbar is reached from the desktop by keyboard alone', {}, async ({ page }) => {
  await launch(page);
  await page.getByRole('application').focus();
  await page.keyboard.press('Control+Alt+Shift+M');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Catalogue');
});

await scenario('another window takes over, and this one can take it back', {}, async ({ page, context }) => {
  await launch(page);
  const other = await context.newPage();
  await other.goto(page.url());
  await live(other);
  await page.getByText('open elsewhere').waitFor();
  await page.getByRole('button', { name: 'Use it here' }).click();
  await page.getByText('open elsewhere').waitFor({ state: 'detached' });
  await other.getByText('open elsewhere').waitFor();
});

await scenario('ending asks once and leads back', {}, async ({ page, mock }) => {
  await launch(page);
  await page.getByRole('button', { name: 'End session' }).click();
  await page.getByRole('button', { name: 'Keep working' }).click();
  assert.equal([...mock.sessions.values()][0].state, 'running');
  await page.getByRole('button', { name: 'End session' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'End session' }).click();
  await page.getByText('This session has ended.').waitFor();
  await page.getByRole('link', { name: 'Back to the catalogue' }).click();
  await page.getByRole('heading', { name: 'Catalogue' }).waitFor();
  assert.equal(await page.getByRole('heading', { name: 'Running now' }).count(), 0);
});

await scenario('a launch whose answer was lost launches once', {}, async ({ page, mock }) => {
  let lost = 0;
  await page.route('**/api/v1/sessions', async (route) => {
    if (route.request().method() !== 'POST' || lost > 0) return route.continue();
    lost += 1;
    await route.fetch();
    await route.abort('connectionreset');
  });
  await launch(page);
  assert.equal(lost, 1);
  assert.equal(mock.sessions.size, 1);
});

await scenario('progress goes on by asking when the event stream is refused', {}, async ({ page }) => {
  await page.route('**/events', (route) => route.fulfill({ status: 503 }));
  await launch(page);
});

await scenario('signing out in one tab ends the other at its next question', {}, async ({ page, mock }) => {
  // The page asks nothing more by itself for a while, once it knows its distances.
  await page.getByText('Nearest to you').waitFor();
  mock.logins.clear();
  await page.getByRole('link', { name: 'My sessions' }).click();
  await page.getByLabel('Username').waitFor();
});

await browser.close();

/** Runs one scenario in a fresh context, signed in; anything on the console that should not be there fails it. */
async function scenario(name, { resume = false, pass = false, clipboard = false }, run) {
  if (process.argv[2] && !name.includes(process.argv[2])) return;
  const mock = await startMock({ pace: 60, resume, pass, display });
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    permissions: clipboard ? ['clipboard-read', 'clipboard-write'] : [],
  });
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.stack));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of|net::ERR_|WebSocket/.test(message.text())) faults.push(message.text());
  });
  const stream = () => [...mock.streams.values()].at(-1);
  try {
    await signIn(page, mock.url);
    await run({ page, mock, context, stream });
    assert.deepEqual(faults, []);
    process.stdout.write(`ok    ${name}\n`);
  } catch (error) {
    process.exitCode = 1;
    process.stdout.write(`FAIL  ${name}\n      ${error.stack.replaceAll('\n', '\n      ')}\n      ${faults.join('\n      ')}\n`);
    await page.screenshot({ path: '../test-results/console-drive.png' }).catch(() => undefined);
  } finally {
    await context.close();
    mock.stop();
  }
}

async function launch(page) {
  await page.getByRole('listitem').filter({ hasText: 'Desktop' }).getByRole('button', { name: 'Launch' }).click();
  await live(page);
}

async function live(page) {
  await page.getByRole('application').waitFor();
  await page.waitForFunction(() => !/first picture|Connecting to/.test(document.body.innerText));
}

/** Marks the canvas, so that another in its place is told from it. */
async function keepPicture(page) {
  await page.locator('canvas').first().evaluate((canvas) => (canvas.dataset.first = 'yes'));
}

async function pictureKept(page) {
  return (await page.locator('canvas[data-first]').count()) === 1;
}

async function until(test, what, limit = 10_000) {
  for (let waited = 0; waited < limit; waited += 50) {
    if (test()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain for ${what}`);
}
