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
  mock.logins.clear();
  await page.getByRole('link', { name: 'My sessions' }).click();
  await page.getByLabel('Username').waitFor();
});

await browser.close();

/** Runs one scenario in a fresh context, signed in; anything on the console that should not be there fails it. */
async function scenario(name, { resume = false, clipboard = false }, run) {
  if (process.argv[2] && !name.includes(process.argv[2])) return;
  const mock = await startMock({ pace: 60, resume, display });
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

async function until(test, what) {
  for (let waited = 0; waited < 10_000; waited += 50) {
    if (test()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain for ${what}`);
}
