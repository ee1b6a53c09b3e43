// A time limit and an idle timeout, in a real Chromium each: the viewer warns, what helps helps, and what follows says why. The shortest limits there are.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { desktopIsLive, launchChromium, signedIn } from './browser.mjs';
import { Meridian, password, sequence } from './meridian.mjs';

const step = sequence(() => meridian.log);
let meridian, browser;
/** What each person sees, from their desktop on: all at once, since nobody's limit waits for another's. */
const stories = {};

/** Longer than any of the limits, and than what their judging may be late. */
const PATIENCE_MS = 150_000;

const limits = {
  ada: { settings: { idle_timeout_s: 60, idle_action: 'disconnect' }, story: staysAndLeaves },
  grace: { settings: { idle_timeout_s: 60, idle_action: 'end' }, story: isIdle },
  hedy: { settings: { time_limit_s: 120 }, story: reachesItsTime },
};

before(async () => {
  // The simulated display shows a picture, which is all that is looked at here.
  meridian = await Meridian.make(['--engine', 'simulated']);
  await meridian.start();
  await meridian.signIn();
  const called = async (expected, method, path, body, token) => {
    const { status, body: answer } = await meridian.call(method, path, body, token);
    assert.equal(status, expected, JSON.stringify(answer));
    return answer;
  };
  const workspace_id = await meridian.workspace('Desktop');
  browser = await launchChromium();
  for (const [priority, [username, { settings, story }]] of Object.entries(limits).entries()) {
    await called(201, 'POST', '/users', { username, password });
    await called(201, 'POST', '/groups', { name: `of ${username}`, priority: priority + 1, settings });
    await called(204, 'PUT', `/groups/of%20${username}/members/${username}`);
    const { token } = await called(200, 'POST', '/auth/login', { username, password }, null);
    const { id } = await called(201, 'POST', '/sessions', { workspace_id }, token);
    await meridian.reaches(id, ['running']);
    const page = await signedIn(browser, meridian.url, username, PATIENCE_MS);
    await page.goto(`${meridian.url}/sessions/${id}`);
    await desktopIsLive(page);
    stories[username] = story(page, id);
    // It fails in its own step.
    stories[username].catch(() => {});
  }
}, { timeout: 240_000 });

after(async () => {
  await browser?.close();
  await meridian?.cleanUp();
}, { timeout: 120_000 });

/** What the viewer says, beside the picture or over it. */
const said = (page, text) => page.getByRole('status').filter({ hasText: text }).waitFor();

async function reachesItsTime(page, id) {
  await said(page, 'Desktop will end, because it reaches its time limit');
  await said(page, 'This session has ended');
  await page.getByText('It reached its time limit of 2 minutes.').waitFor();
  assert.equal((await meridian.reaches(id, ['ended'])).reason, 'it reached its time limit of 2 minutes');
}

async function isIdle(page, id) {
  await said(page, 'Are you still there? Desktop ends soon');
  await said(page, 'This session has ended');
  await page.getByText('Nobody used it for 1 minute.').waitFor();
  assert.equal((await meridian.reaches(id, ['ended'])).reason, 'nobody used it for 1 minute');
}

async function staysAndLeaves(page, id) {
  const question = page.getByText('Are you still there? You will be disconnected soon');
  await question.waitFor();
  await page.getByRole('button', { name: 'Stay' }).click();
  await question.waitFor({ state: 'detached' });
  await desktopIsLive(page);
  await question.waitFor();
  await page.getByRole('heading', { name: 'You were away' }).waitFor();
  assert.equal((await meridian.reaches(id, ['running'])).state, 'running', 'it goes on without them');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('heading', { name: 'You were away' }).waitFor({ state: 'detached' });
  await desktopIsLive(page);
}

step('the viewer says beforehand that the time limit ends the session, and then that it did', 2 * PATIENCE_MS, () => stories.hedy);

step('before an idle session ends the viewer asks whether somebody is there, and then says why it ended', 2 * PATIENCE_MS, () => stories.grace);

step('whoever stays is asked again later; whoever is away then is disconnected, told so, and goes on where they were', 3 * PATIENCE_MS, () => stories.ada);
