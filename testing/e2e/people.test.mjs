// People, as an administrator makes and sees them in a real Chromium: an account, a group with a policy, a key, the audit log.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { launchChromium, signIn } from './browser.mjs';
import { Meridian, sequence, waitFor } from './meridian.mjs';

const step = sequence(() => meridian.log);
let meridian, browser, page;

before(async () => {
  // People need no containers.
  meridian = await Meridian.make(['--engine', 'simulated']);
  await meridian.start();
  browser = await launchChromium();
  page = await newPage();
  await page.goto(meridian.url);
  await signIn(page);
  await page.getByRole('heading', { name: 'Catalogue' }).waitFor();
}, { timeout: 120_000 });

after(async () => {
  await browser?.close();
  await meridian?.cleanUp();
}, { timeout: 120_000 });

async function newPage() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(15_000);
  return context.newPage();
}

const visit = (name) => page.getByRole('link', { name, exact: true }).first().click();
const panel = () => page.getByRole('dialog');
const close = async () => {
  await panel().getByRole('button', { name: 'Close' }).click();
  await panel().waitFor({ state: 'detached' });
};
const row = (text) => page.getByRole('row').filter({ hasText: text });

step('what is wrong with a new account is said at its field, and then it is made', 90_000, async () => {
  await visit('Users');
  await page.getByRole('button', { name: 'New user' }).click();
  await panel().getByLabel('Name').fill('ada');
  await panel().getByLabel('Password', { exact: true }).fill('short');
  await panel().getByRole('button', { name: 'Make the account' }).click();
  const field = panel().getByLabel('Password', { exact: true });
  await panel().locator('[aria-invalid="true"]').first().waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  await field.fill('a password of the first day');
  await panel().getByRole('button', { name: 'Make the account' }).click();
  await row('ada').getByText('new password due').waitFor();
});

step('a group decides, and says so about its member', 90_000, async () => {
  await visit('Groups');
  await page.getByRole('button', { name: 'New group' }).click();
  await panel().getByLabel('Name').fill('Guests');
  await panel().getByLabel('Priority').fill('20');
  await panel().getByRole('button', { name: 'Make the group' }).click();
  await page.getByRole('dialog', { name: 'New group' }).waitFor({ state: 'detached' });
  const decides = panel().getByRole('group', { name: 'What it decides' });
  await decides.getByLabel('View only').selectOption('yes');
  await decides.getByLabel('Session limit', { exact: true }).fill('1');
  await decides.getByRole('button', { name: 'Save' }).click();
  // Saved: nothing of it is left to save.
  await waitFor('the settings to be saved', 15_000, () => decides.getByRole('button', { name: 'Save' }).isDisabled());
  const members = panel().getByRole('group', { name: 'Members' });
  await members.getByLabel('Add somebody').fill('ada');
  await members.getByRole('button', { name: 'Add' }).click();
  await members.getByRole('button', { name: 'Remove ada' }).waitFor();
  await close();
  await row('Guests').getByText('View only: yes').waitFor();

  await visit('Users');
  await page.getByRole('button', { name: 'Show ada' }).click();
  const policy = panel().getByRole('table', { name: 'Policy that holds' });
  const decided = (setting) => policy.getByRole('row').filter({ hasText: setting }).first();
  assert.match(await decided('View only').innerText(), /yes\s+Guests \(20\)/);
  assert.match(await decided('Session limit').innerText(), /1\s+Guests \(20\)/);
  assert.match(await decided('Clipboard in').innerText(), /yes\s+default/);
  await close();
});

step('a key does what it may and nothing else', 90_000, async () => {
  await page.getByRole('button', { name: 'admin', exact: true }).click();
  await page.getByRole('menuitem', { name: 'API keys' }).click();
  await page.getByRole('button', { name: 'New key' }).click();
  await panel().getByLabel('Name').fill('nightly report');
  await panel().getByLabel('audit:view').check();
  await panel().getByRole('button', { name: 'Make the key' }).click();
  const key = await panel().locator('pre, code').filter({ hasText: /^mk_/ }).first().innerText();
  await panel().getByRole('button', { name: 'Done' }).click();
  await row('nightly report').getByText('active').waitFor();
  assert.equal((await meridian.call('GET', '/audit', null, key)).status, 200);
  assert.equal((await meridian.call('GET', '/users', null, key)).status, 403);
  await page.getByRole('button', { name: 'Revoke nightly report' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await row('nightly report').getByText('revoked').waitFor();
  assert.equal((await meridian.call('GET', '/audit', null, key)).status, 401);
});

step('the audit log has what was done, and is searched', 90_000, async () => {
  await visit('Audit log');
  for (const done of ['create user', 'create group', 'update group', 'create key', 'revoke key']) {
    await row(done).first().waitFor();
  }
  await page.getByLabel('Action').fill('create_key');
  await row('revoke key').first().waitFor({ state: 'detached' });
  assert.match(await row('create key').first().innerText(), /admin[\s\S]*nightly report[\s\S]*ok/);
  await page.getByRole('button', { name: 'Show create key of nightly report' }).click();
  assert.match(await panel().innerText(), /audit:view/);
  assert.doesNotMatch(await panel().innerText(), /mk_\w{12}/, 'the log has no key in it');
  await close();
});

step('whoever must choose a password does so, and sees no administration', 90_000, async () => {
  const theirs = await newPage();
  await theirs.goto(meridian.url);
  await theirs.getByLabel('Username').fill('ada');
  await theirs.getByLabel('Password').fill('a password of the first day');
  await theirs.getByRole('button', { name: 'Sign in', exact: true }).click();
  await theirs.getByRole('heading', { name: 'Choose a new password' }).waitFor();
  await theirs.getByLabel('Current password').fill('a password of the first day');
  await theirs.getByLabel('New password', { exact: true }).fill('a password of her own');
  await theirs.getByLabel('New password, again').fill('a password of her own');
  await theirs.getByRole('button', { name: 'Change password' }).click();
  await theirs.getByRole('heading', { name: 'Catalogue' }).waitFor();
  assert.equal(await theirs.getByRole('navigation', { name: 'Administration' }).count(), 0);
  await theirs.goto(`${meridian.url}/admin/users`);
  await theirs.getByText('There is no page at this address').waitFor();
  await theirs.context().close();
});

step('somebody is moved to another zone after a look at what that does, and back', 90_000, async () => {
  await meridian.signIn();
  const home = async () => {
    const { body } = await meridian.call('GET', '/users/ada/policy');
    return body.items.find(({ setting }) => setting === 'home_zone').value;
  };
  const before = await home();
  await page.goto(`${meridian.url}/admin/zones`);
  await row('virginia').waitFor();
  await page.getByRole('button', { name: 'Move people' }).click();
  const move = page.getByRole('dialog', { name: 'Move people to another zone' });
  await move.getByLabel('Whom').selectOption('user');
  await move.getByRole('textbox', { name: 'User' }).fill('nobody of that name');
  await move.getByLabel('To zone').selectOption('virginia');
  await move.getByRole('button', { name: 'Show what it would do' }).click();
  await move.getByRole('alert').waitFor();
  await move.getByRole('textbox', { name: 'User' }).fill('ada');
  await move.getByRole('button', { name: 'Show what it would do' }).click();
  await move.getByText('1 person, 0 sessions').waitFor();
  assert.equal(await home(), before, 'a look changes nothing');
  await move.getByRole('button', { name: 'Move them' }).click();
  await page.getByRole('dialog', { name: 'Move ada to virginia?' }).getByRole('button', { name: 'Move them' }).click();
  await move.getByText('ada moved to virginia').waitFor();
  assert.equal(await home(), 'virginia');
  await move.getByRole('button', { name: 'Undo the move of ada to virginia' }).click();
  await move.getByText('undone').waitFor();
  assert.equal(await home(), before);
});
