// One person's terminal in a real Chromium, while what carries it dies part by part. The workspace goes on, and so does the page: what is
// typed after each fault is read back from inside the container, and the agent counts how the viewer came back.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { desktopIsLive, launch, launchChromium, signIn, type } from './browser.mjs';
import { Meridian, password, sequence, waitFor } from './meridian.mjs';

const step = sequence(() => meridian.log);
const proxies = ['proxy-london-1', 'proxy-london-2'];
const balancers = ['balance-london-1', 'balance-london-2'];
const nodes = ['web-primary-1', 'web-primary-2'];
const webNodes = ['web-primary-1', 'web-primary-2'];
let meridian, browser, page, session, words = 0;

before(async () => {
  meridian = await Meridian.make(['--separate', '--zones', 'london']);
  await meridian.start();
  await meridian.signIn();
  browser = await launchChromium();
  page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  page.setDefaultTimeout(15_000);
}, { timeout: 120_000 });

after(async () => {
  await browser?.close();
  await meridian?.cleanUp();
}, { timeout: 120_000 });

async function agentMetrics() {
  const ports = await readFile(join(meridian.data, 'config/ports.toml'), 'utf8');
  const [, port] = ports.match(/^agent-london-1-ops = (\d+)$/m);
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

/** A series of the agent's. */
async function series(name) {
  return Number((await agentMetrics()).match(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'm'))?.[1]);
}

/** How often viewers attached to the agent, by its verdict. */
async function attached() {
  const metrics = await agentMetrics();
  const count = (verdict) => Number(metrics.match(new RegExp(`^meridian_agent_attaches_total\\{.*verdict="${verdict}".*\\} (\\d+)$`, 'mi'))?.[1] ?? 0);
  return { resumed: count('resumed'), restarted: count('restarted'), fresh: count('new') };
}

/** Types a word and reads it inside the container: the page, every hop and the workspace do their work. */
async function works() {
  words += 1;
  const word = `word-${words}`;
  await waitFor('what was typed', 60_000, async () => {
    await type(page, `echo ${word} > ~/${word}`);
    return waitFor('the word', 3_000, async () =>
      (await meridian.inside(session, 'cat', `/home/user/${word}`)).trim() === word).catch(() => false);
  });
}

async function resumes(before) {
  const seen = await waitFor('the viewer to come back', 60_000, async () => {
    const now = await attached();
    return now.resumed > before.resumed && now;
  });
  assert.deepEqual([seen.restarted, seen.fresh], [before.restarted, before.fresh], 'the same stream goes on');
}

/** Kills the proxies one after the other: the first or the second one carries the stream. */
async function killProxies(signal) {
  for (const name of proxies) {
    const pid = await meridian.pid(name);
    process.kill(pid, signal);
    await waitFor(`${name} to be started again`, 30_000, async () => (await meridian.pid(name)) !== pid);
  }
}

step('a person works in a terminal', 120_000, async () => {
  await page.goto(meridian.url);
  await signIn(page);
  await page.getByRole('heading', { name: 'Terminal', exact: true }).waitFor();
  session = await launch(page, 'Terminal');
  const canvas = await desktopIsLive(page);
  await canvas.click({ position: { x: 200, y: 200 } });
  await works();
  assert.equal((await attached()).fresh, 1);
});

step('kill -9 of its proxy: the stream is resumed through another', 120_000, async () => {
  const before = await attached();
  await killProxies('SIGKILL');
  await resumes(before);
  await works();
});

step('a proxy that is stopped is left before it goes', 120_000, async () => {
  const before = await attached();
  await killProxies('SIGTERM');
  await resumes(before);
  await works();
});

step('an administrator drains its proxy: the viewer moves, and the proxy is empty', 120_000, async () => {
  const nodes = async () => (await meridian.call('GET', '/nodes')).body.items;
  const carrying = await waitFor('the proxy that carries the stream', 20_000, async () =>
    (await nodes()).find((node) => node.role === 'proxy' && node.streams > 0));
  const before = await attached();
  assert.equal((await meridian.call('POST', `/nodes/${carrying.id}/drain`)).status, 204);
  await resumes(before);
  const shown = await waitFor('the proxy to be empty', 30_000, async () =>
    (await nodes()).find((node) => node.id === carrying.id && node.streams === 0));
  assert.equal(shown.state, 'draining');
  await works();
  assert.equal((await meridian.call('POST', `/nodes/${carrying.id}/undrain`)).status, 204);
  await waitFor('the proxy to be ready again', 10_000, async () =>
    (await nodes()).find((node) => node.id === carrying.id && node.state === 'ready'));
});

step('a balancer in front of the proxies dies, and is not missed', 120_000, async () => {
  const before = await attached();
  await meridian.replaced('balance-london-2');
  await resumes(before);
  await works();
});

/** Runs with every Web App node frozen. */
async function withoutControlPlane(run) {
  const web = await Promise.all(nodes.map((name) => meridian.pid(name)));
  for (const pid of web) process.kill(pid, 'SIGSTOP');
  try {
    await run();
  } finally {
    for (const pid of web) process.kill(pid, 'SIGCONT');
  }
}

step('the control plane is away, and every proxy is killed: restarted without it, they bring the stream back', 180_000, async () => {
  const before = await attached();
  await withoutControlPlane(async () => {
    await killProxies('SIGKILL');
    await resumes(before);
    await works();
  });
});

step('a zone is restarted as a whole while the control plane is away: the viewer comes back by its pass', 180_000, async () => {
  const before = await attached();
  const pids = new Map(await Promise.all([...proxies, ...balancers].map(async (name) => [name, await meridian.pid(name)])));
  await withoutControlPlane(async () => {
    for (const pid of pids.values()) process.kill(pid, 'SIGKILL');
    for (const [name, pid] of pids) {
      await waitFor(`${name} to be started again`, 30_000, async () => (await meridian.pid(name)) !== pid);
    }
    await resumes(before);
    await works();
  });
});

step('a page that is reloaded leaves nothing waiting on the agent', 60_000, async () => {
  const left = await series('meridian_agent_streams_left_total');
  // From here on its tickets come without a way back, as those of a stream without a key do.
  await page.route('**/connect', async (route) => {
    const response = await route.fetch();
    const answer = await response.json();
    await route.fulfill({ response, json: { ...answer, resume_protocols: [] } });
  });
  await page.reload();
  await desktopIsLive(page);
  await waitFor('the agent to hear it', 10_000, async () => (await series('meridian_agent_streams_left_total')) > left);
  assert.equal(await series('meridian_agent_streams_parked'), 0);
  assert.equal(await series('meridian_agent_streams'), 1);
});

step('a login that has ended is renewed over the desktop, and the same stream goes on', 120_000, async () => {
  await page.getByRole('application').click({ position: { x: 200, y: 200 } });
  await works();
  const before = await attached();
  await page.context().clearCookies();
  for (const name of proxies) process.kill(await meridian.pid(name), 'SIGKILL');
  const dialog = page.getByRole('dialog', { name: 'Sign in to go on' });
  await dialog.waitFor({ timeout: 60_000 });
  await page.getByLabel('Password').fill(password);
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await resumes(before);
  await page.getByRole('application').click({ position: { x: 200, y: 200 } });
  await works();
  await page.unroute('**/connect');
  await page.reload();
  await (await desktopIsLive(page)).click({ position: { x: 200, y: 200 } });
});

step('kill -9 of the agent: the same workspace, and a display begun anew', 120_000, async () => {
  const container = await meridian.containers(session);
  await meridian.replaced('agent-london-1');
  await waitFor('the viewer to come back', 60_000, async () => (await attached()).restarted + (await attached()).fresh > 0);
  await works();
  assert.deepEqual(await meridian.containers(session), container);
});

step('nothing of it is left', 60_000, async () => {
  await meridian.end(session);
  assert.deepEqual(await meridian.stop('SIGTERM'), { code: 0, signal: null });
  assert.deepEqual(await meridian.cleanUp(), []);
});
