// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, configure, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { MemoryRouter } from 'react-router';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../api/queries';
import MyHomes from './MyHomes';

configure({ asyncUtilTimeout: 20_000 });
vi.setConfig({ testTimeout: 60_000 });

const home = (id: string, name: string, state: string) => ({
  id,
  name,
  workspace_id: name,
  user: { id: 'u', name: 'ada' },
  agent: 'agent-london',
  storage: null,
  zone: 'london',
  state,
  gone: null,
  size_mb: 2048,
  session_id: null,
  created_at: '2026-11-01T08:00:00Z',
  used_at: '2026-11-20T08:00:00Z',
});

let homes: ReturnType<typeof home>[];
let deleted: string[];

beforeEach(() => {
  homes = [home('h1', 'Desktop', 'free'), home('h2', 'Terminal', 'in_use')];
  deleted = [];
  vi.stubGlobal('fetch', (request: Request) => {
    const path = new URL(request.url).pathname.replace('/api/v1', '');
    if (request.method === 'DELETE') {
      deleted.push(path);
      homes = homes.filter(({ id }) => path !== `/homes/${id}`);
      return Promise.resolve(new Response(null, { status: 204 }));
    }
    return Promise.resolve(new Response(JSON.stringify({ items: homes, next: null }), { headers: { 'Content-Type': 'application/json' } }));
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function open() {
  render(
    <MantineProvider>
      <QueryClientProvider client={createQueryClient()}>
        <MemoryRouter>
          <MyHomes />
        </MemoryRouter>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

test('a home is reset after a question, and one that a session has is not', async () => {
  open();
  expect((await screen.findByRole('button', { name: 'Reset the home of Terminal' })).hasAttribute('disabled')).toBe(true);
  await userEvent.click(screen.getByRole('button', { name: 'Reset the home of Desktop' }));
  await userEvent.click(await screen.findByRole('button', { name: 'Cancel' }));
  expect(deleted).toEqual([]);
  await userEvent.click(screen.getByRole('button', { name: 'Reset the home of Desktop' }));
  await userEvent.click(await screen.findByRole('button', { name: 'Remove everything in it' }));
  await waitFor(() => expect(screen.queryByText('Desktop')).toBeNull());
  expect(deleted).toEqual(['/homes/h1']);
});

test('whoever has none reads what homes are', async () => {
  homes = [];
  open();
  await screen.findByText('Nothing is kept for you');
});
