// @vitest-environment happy-dom
import { cleanup, fireEvent, screen, waitFor } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import type { User } from '../../api/types';
import { UserDetails } from './UserDetails';
import { refusal, show, shownIn, stage, write } from './admin.stage';

const ada: User = {
  id: 'a', name: 'ada', role: 'user', disabled: false, locked: false, must_change_password: false, sessions: 0, groups: [], session_limit: 10, session_limit_own: false, created_at: '2026-11-23T08:00:00Z',
};

const account = (change: Partial<User> = {}) => <UserDetails user={{ ...ada, ...change }} onGone={() => undefined} />;
const invalid = (label: string) => screen.getByLabelText(label).getAttribute('aria-invalid') === 'true';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

for (const [label, field, button, value] of [
  ['Name', 'name', 'Rename', 'grace'],
  ['New password', 'password', 'Set the password', 'short'],
  ['Session limit of their own', 'session_limit', 'Set the limit', '20000'],
] as const) {
  test(`what is wrong with ${field} is said at its field alone, until it is changed`, async () => {
    stage(() => refusal(422, `${field} is wrong`, [{ field, message: `the ${field} is wrong` }]));
    show(account());
    write(label, value);
    fireEvent.click(screen.getByRole('button', { name: button }));
    await screen.findByText(`the ${field} is wrong`);
    expect(invalid(label)).toBe(true);
    expect(screen.queryByRole('alert')).toBeNull();
    expect(['Name', 'New password', 'Session limit of their own'].filter(invalid)).toEqual([label]);
    write(label, '7');
    await waitFor(() => expect(invalid(label)).toBe(false));
  });
}

test('what is wrong with no field is said all the same', async () => {
  stage(() => refusal(403, 'that is beyond what you may do'));
  show(account());
  write('Name', 'grace');
  fireEvent.click(screen.getByRole('button', { name: 'Rename' }));
  await screen.findByText('That is beyond what you may do.');
  expect(invalid('Name')).toBe(false);
});

test('a name that a colleague changed is shown, and each field is sent by itself', async () => {
  const sent = stage(() => null);
  const change = show(account());
  write('Session limit of their own', '3');
  change(account({ name: 'ada.l' }));
  expect(shownIn('Name')).toBe('ada.l');
  fireEvent.click(screen.getByRole('button', { name: 'Set the limit' }));
  await waitFor(() => expect(sent).toEqual([{ call: 'PATCH /users/a', body: { session_limit: 3 } }]));
});

test('a home zone of their own is chosen and left to groups again, and what policy has against it is said there', async () => {
  const zones = { '/zones': [{ name: 'london' }, { name: 'virginia' }] };
  const said = 'virginia is not among the zones that this user’s policy allows';
  let answer = refusal(422, said, [{ field: 'home_zone', message: said }]);
  const sent = stage(() => answer, zones);
  const change = show(account());
  const set = () => screen.getByRole<HTMLButtonElement>('button', { name: 'Set the home zone' });
  await screen.findByRole('option', { name: 'virginia' });
  expect([shownIn('Home zone of their own'), set().disabled]).toEqual(['', true]);
  write('Home zone of their own', 'virginia');
  fireEvent.click(set());
  await screen.findByText(said);
  expect(invalid('Home zone of their own')).toBe(true);

  write('Home zone of their own', 'london');
  expect(invalid('Home zone of their own')).toBe(false);
  answer = new Response('{}', { headers: { 'Content-Type': 'application/json' } });
  fireEvent.click(set());
  await waitFor(() => expect(sent).toHaveLength(2));
  // A zone that is gone is shown by its id, until the account has another.
  change(account({ home_zone: '0190a5de' }));
  await waitFor(() => expect(shownIn('Home zone of their own')).toBe('0190a5de'));
  write('Home zone of their own', '');
  answer = new Response('{}', { headers: { 'Content-Type': 'application/json' } });
  fireEvent.click(set());
  await waitFor(() => expect(sent.map(({ body }) => body)).toEqual([{ home_zone: 'virginia' }, { home_zone: 'london' }, { home_zone: null }]));
});
