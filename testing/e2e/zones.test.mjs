// Zones, as people choose and administrators set them in a real Chromium: distances measured through real proxies, a launch that says
// where it runs and why, settings that are judged at their fields, and a refusal that is explained.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { launch, launchChromium, signIn } from './browser.mjs';
import { Meridian, sequence } from './meridian.mjs';

const step = sequence(() => meridian.log);
let meridian, browser, page;

before(async () => {
  // Where nothing needs to be seen of a workspace, none has to run.
  meridian = await Meridian.make(['--engine', 'simulated', '--zones', 'london,virginia']);
  await meridian.start();
  await meridian.signIn();
  browser = await launchChromium();
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(15_000);
  page = await context.newPage();
}, { timeout: 120_000 });

after(async () => {
  await browser?.close();
  await meridian?.cleanUp();
}, { timeout: 120_000 });

const panel = () => page.getByRole('dialog');
const close = async () => {
  await panel().getByRole('button', { name: 'Close' }).click();
  await panel().waitFor({ state: 'detached' });
};
const visit = (name) => page.getByRole('link', { name, exact: true }).first().click();

step('the page measures every zone through its proxies, and says which is nearest', 60_000, async () => {
  const measured = page.waitForRequest((request) => request.url().endsWith('/zones/measurements'));
  await page.goto(meridian.url);
  await signIn(page);
  const { zones } = (await measured).postDataJSON();
  assert.deepEqual(zones.map(({ zone }) => zone).sort(), ['london', 'virginia']);
  for (const { zone, round_trips_ms: rounds } of zones) assert.ok(rounds.length >= 3, `${zone}: ${rounds}`);
  await page.getByText(/Nearest to you: (london|virginia)/).waitFor();
});

step('a session says that it runs where one chose', 60_000, async () => {
  const session = await launch(page, 'Terminal', 'virginia');
  const { body } = await meridian.call('GET', `/sessions/${session}`);
  assert.equal(body.zone, 'virginia');
  assert.equal(body.choice.because, 'you chose it');
  assert.ok(body.choice.distance_ms > 0, 'with the distance that the page measured');
  await page.goto(`${meridian.url}/sessions`);
  await page.getByText(/virginia, .*ms away/).waitFor();
  await visit('Sessions');
  await page.getByRole('button', { name: 'Explain Terminal of admin' }).click();
  await panel().getByText('because you chose it').waitFor();
  await panel().getByRole('table', { name: 'Zones, in the order they are asked' }).getByText('chosen').waitFor();
});

step('a setting is judged at its field, by the page and by the server, and saved', 60_000, async () => {
  await page.goto(`${meridian.url}/admin/zones`);
  await page.getByRole('button', { name: 'Show virginia' }).click();
  const alternates = panel().getByLabel('alternate_zones', { exact: true });
  await alternates.fill('atlantis');
  await panel().getByText('There is no zone atlantis').waitFor();
  assert.equal(await panel().getByRole('button', { name: 'Save' }).isDisabled(), true);
  await alternates.fill('london');
  await panel().getByLabel('outage_grace').fill('3600');
  await panel().getByRole('button', { name: 'Save' }).click();
  await panel().getByText('Changed:').waitFor({ state: 'detached' });
  const { body } = await meridian.call('GET', '/zones');
  const virginia = body.items.find((zone) => zone.zone_name === 'virginia');
  assert.deepEqual([virginia.alternate_zones, virginia.outage_grace], [['london'], 3600]);
  // Only the server can refuse a name; the page sees to it that no zone is its own alternate.
  await alternates.fill('');
  await panel().getByLabel('zone_name', { exact: true }).fill('london');
  await panel().getByRole('button', { name: 'Save' }).click();
  await panel().getByText('A zone of that name exists already').waitFor();
  await close();
});

step('a workspace that is kept from everybody says so to the administrator', 60_000, async () => {
  await visit('Workspaces');
  await page.getByRole('button', { name: 'Show Browser' }).click();
  await panel().getByLabel('Zones', { exact: true }).fill('virginia');
  await panel().getByRole('group', { name: /^Who sees it/ }).getByRole('button', { name: 'Save' }).click();
  await panel().getByLabel('In zone').selectOption('london');
  await panel().getByText(/Not in the catalogue of admin/).waitFor();
  await close();
});

step('a workspace that is made is in the catalogue', 60_000, async () => {
  await page.getByRole('button', { name: 'New workspace' }).click();
  await panel().getByLabel('Name').fill('Scratch');
  await panel().getByLabel('Image', { exact: true }).fill('not an image');
  await panel().getByRole('button', { name: 'Make the workspace' }).click();
  await panel().locator('[aria-invalid="true"]').first().waitFor();
  await panel().getByLabel('Image', { exact: true }).fill('meridian/terminal:dev');
  await panel().getByRole('button', { name: 'Make the workspace' }).click();
  await page.getByRole('dialog', { name: 'New workspace' }).waitFor({ state: 'detached' });
  await panel().getByText('It would be asked for in').waitFor();
  await close();
  await visit('Catalogue');
  await page.getByRole('heading', { name: 'Scratch', exact: true }).waitFor();
});

step('an image that a zone wants is shown, agent by agent', 60_000, async () => {
  await visit('Images');
  await page.getByRole('button', { name: 'Want an image' }).click();
  await panel().getByLabel('Image').fill('without-a-tag');
  await panel().getByRole('button', { name: 'Want it' }).click();
  await panel().locator('[aria-invalid="true"]').waitFor();
  await panel().getByLabel('Zone').selectOption('virginia');
  await panel().getByLabel('Image').fill('registry.example.org/tool:1');
  await panel().getByRole('button', { name: 'Want it' }).click();
  await panel().waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Show registry.example.org/tool:1 in virginia' }).click();
  await panel().getByRole('table', { name: 'On its agents' }).getByText('agent-virginia-1').waitFor();
  await panel().getByRole('button', { name: 'Want it no longer' }).click();
  await close();
});

step('a refused launch is explained to its user, and in full to an administrator', 60_000, async () => {
  const nodes = (await meridian.call('GET', '/nodes')).body.items.filter((node) => node.role === 'agent');
  for (const node of nodes) await meridian.call('POST', `/nodes/${node.id}/drain`);
  await page.goto(meridian.url);
  await page.getByRole('listitem').filter({ hasText: 'Desktop' }).getByRole('button', { name: 'Launch' }).first().click();
  const refusal = page.getByRole('alert');
  await refusal.getByText('draining').first().waitFor();
  await refusal.getByRole('button', { name: 'Full explanation' }).click();
  await panel().getByRole('table', { name: 'Zones, in the order they are asked' }).waitFor();
  await panel().getByText('no place was left').waitFor();
  await page.goto(`${meridian.url}/admin/nodes`);
  await page.getByRole('button', { name: `Show ${nodes[0].name}` }).click();
  await panel().getByRole('button', { name: 'Undrain' }).click();
  await panel().getByRole('button', { name: 'Drain', exact: true }).waitFor();
});
