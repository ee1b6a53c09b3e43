// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../../../api/queries';
import { MovePeople } from './MovePeople';

let asked: string[] = [];
let would: object = {};
let made: object[] = [];

const json = (body: unknown) => new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } });

beforeEach(() => {
  asked = [];
  made = [];
  would = {
    id: null, kind: 'zone', subject: 'london', to: 'virginia', people: 2, refused: 0, sessions: 1,
    first_people: [
      { id: 'a', name: 'ada', from: 'london', refused_because: null, stays_because: null },
      { id: 'g', name: 'grace', from: null, refused_because: null, stays_because: 'Help desk says london' },
    ],
    first_sessions: [{ id: 's', workspace: 'Desktop', user: 'ada', zone: 'london', state: 'running', stays_because: null }],
  };
  vi.stubGlobal('fetch', async (request: Request) => {
    const path = new URL(request.url).pathname.replace('/api/v1', '');
    if (request.method === 'GET') return json({ items: made, next: null });
    asked.push(`${path} ${await request.text()}`.trim());
    return json(would);
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function show() {
  render(
    <MantineProvider>
      <QueryClientProvider client={createQueryClient()}>
        <MovePeople zones={['london', 'virginia']} />
      </QueryClientProvider>
    </MantineProvider>,
  );
}

test('it is shown whom a move concerns before anybody is moved, and then asked once more', async () => {
  show();
  expect(screen.queryByRole('button', { name: 'Move them' })).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Show what it would do' }));
  await screen.findByText('2 people, 1 session');
  expect(screen.getByText('Help desk says london')).toBeTruthy();
  expect(asked).toEqual(['/reassignments {"zone":"london","to":"virginia","dry_run":true}']);

  fireEvent.click(screen.getByRole('button', { name: 'Move them' }));
  const dialog = await screen.findByRole('dialog');
  expect(asked).toHaveLength(1);
  fireEvent.click([...dialog.querySelectorAll('button')].at(-1) as HTMLElement);
  await screen.findByText(/^london moved to virginia/);
  expect(asked[1]).toBe('/reassignments {"zone":"london","to":"virginia","dry_run":false}');
});

test('where one may not be moved nobody is, and the rule is named', async () => {
  would = { ...would, refused: 1, first_people: [{ id: 'a', name: 'ada', from: 'london', refused_because: 'Guests may not run in virginia', stays_because: null }] };
  show();
  fireEvent.click(screen.getByRole('button', { name: 'Show what it would do' }));
  await screen.findByText('Guests may not run in virginia');
  expect(screen.getByRole<HTMLButtonElement>('button', { name: 'Move them' }).disabled).toBe(true);
});

test('what was looked at is forgotten when something else is asked for', async () => {
  show();
  fireEvent.click(screen.getByRole('button', { name: 'Show what it would do' }));
  await screen.findByText('2 people, 1 session');
  fireEvent.change(screen.getByLabelText('Whom'), { target: { value: 'user' } });
  await waitFor(() => expect(screen.queryByText('2 people, 1 session')).toBeNull());
  fireEvent.change(screen.getByLabelText('User'), { target: { value: 'ada' } });
  fireEvent.click(screen.getByRole('button', { name: 'Show what it would do' }));
  await waitFor(() => expect(asked).toContain('/reassignments {"user":"ada","to":"virginia","dry_run":true}'));
});

test('a move that was made is undone at a click', async () => {
  made = [{ id: 'm', kind: 'user', subject: 'ada', to: 'virginia', people: 1, sessions: 0, made_by: 'admin', made_at: new Date().toISOString(), undone_at: null }];
  show();
  fireEvent.click(await screen.findByRole('button', { name: 'Undo the move of ada to virginia' }));
  await waitFor(() => expect(asked).toEqual(['/reassignments/m/undo']));
});
