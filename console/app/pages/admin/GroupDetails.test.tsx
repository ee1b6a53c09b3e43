// @vitest-environment happy-dom
import { cleanup, fireEvent, screen, waitFor, within } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import type { Group } from '../../api/types';
import { GroupDetails } from './GroupDetails';
import { refusal, show, shownIn, stage, write } from './admin.stage';

const guests: Group = {
  id: 'g', name: 'Guests', priority: 20, description: '', system: null, members: 0, version: 1, permissions: ['users:view'], settings: { view_only: true },
};

const settings = [
  { name: 'view_only', kind: 'switch', default: false, wanted: '', meaning: '', words: [] },
  { name: 'allowed_zones', kind: 'zones', default: [], wanted: '', meaning: '', words: [] },
];

const group = (change: Partial<Group>) => <GroupDetails group={{ ...guests, ...change }} onGone={() => undefined} />;
const saveOf = (part: string) => within(screen.getByRole('group', { name: part })).getByRole<HTMLButtonElement>('button', { name: 'Save' });

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test('what a colleague changed meanwhile is shown, and survives what I save', async () => {
  const sent = stage(() => null);
  const change = show(group({}));
  expect(saveOf('General').disabled).toBe(true);
  write('Description', 'Visitors');
  change(group({ name: 'Visitors', priority: 7, version: 2 }));
  expect(shownIn('Name')).toBe('Visitors');
  expect(shownIn('Priority')).toBe('7');
  expect(shownIn('Description')).toBe('Visitors');
  fireEvent.click(saveOf('General'));
  await waitFor(() => expect(sent).toEqual([{ call: 'PATCH /groups/g', body: { description: 'Visitors' } }]));
});

test('a permission that a colleague gave meanwhile is not taken by what I tick', async () => {
  const sent = stage(() => null);
  const change = show(group({}));
  fireEvent.click(screen.getByLabelText('sessions:view'));
  change(group({ permissions: ['users:view', 'nodes:view'], version: 2 }));
  fireEvent.click(screen.getByLabelText('users:view'));
  expect(screen.getByLabelText<HTMLInputElement>('nodes:view').checked).toBe(true);
  fireEvent.click(saveOf('What its members may administer'));
  await waitFor(() => expect(sent[0]?.body).toEqual({ permissions: ['nodes:view', 'sessions:view'] }));
});

test('settings that nobody touched follow the server, and those that were are kept while it changes', async () => {
  const sent = stage(() => null, { '/policy/settings': settings });
  const change = show(group({}));
  await screen.findByLabelText('View only');
  write('Allowed zones', 'london, ');
  expect(shownIn('Allowed zones')).toBe('london, ');
  change(group({ settings: { view_only: false }, version: 2 }));
  expect(shownIn('View only')).toBe('no');
  expect(shownIn('Allowed zones')).toBe('london, ');
  fireEvent.click(saveOf('What it decides'));
  await waitFor(() => expect(sent[0]?.body).toEqual({ settings: { allowed_zones: ['london'] } }));
});

test('a name that nobody has is said to be wrong where it was typed, until it is changed', async () => {
  const answers = [refusal(404, 'there is no such user, or it is not yours')];
  const sent = stage(() => answers.shift() ?? null);
  show(group({}));
  write('Add somebody', 'nobody');
  fireEvent.click(screen.getByRole('button', { name: 'Add' }));
  await screen.findByText('There is no such user, or it is not yours.');
  expect(screen.getByLabelText('Add somebody').getAttribute('aria-invalid')).toBe('true');
  expect(screen.queryByRole('alert')).toBeNull();
  write('Add somebody', 'ada');
  await waitFor(() => expect(screen.queryByText(/There is no such user/)).toBeNull());
  fireEvent.click(screen.getByRole('button', { name: 'Add' }));
  await waitFor(() => expect(shownIn('Add somebody')).toBe(''));
  expect(sent.map(({ call }) => call)).toEqual(['PUT /groups/g/members/nobody', 'PUT /groups/g/members/ada']);
});
