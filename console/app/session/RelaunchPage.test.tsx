// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { MemoryRouter, Route, Routes } from 'react-router';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../api/queries';
import RelaunchPage from './RelaunchPage';

const asked: string[] = [];
let events: ((event: { data: string }) => void) | null = null;
let launches: Response[] = [];
let current: object = {};

class Events {
  set onmessage(heard: (event: { data: string }) => void) {
    events = heard;
  }
  close() {
    events = null;
  }
}

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });

function session(change: object) {
  const workspace = { id: 'w', name: 'Desktop', icon: null };
  const relaunch = { zone: 'london', because: 'an administrator moved you to london' };
  return { id: 's', name: 'Desktop', state: 'running', zone: 'virginia', workspace, relaunch, ...change };
}

beforeEach(() => {
  asked.length = 0;
  current = {};
  launches = [json(session({ id: 'next', zone: 'london', relaunch: null, state: 'starting' }), 201)];
  vi.stubGlobal('EventSource', Events);
  vi.stubGlobal('fetch', async (request: Request) => {
    const path = new URL(request.url).pathname;
    const body = request.method === 'POST' ? await request.text() : '';
    if (request.method !== 'GET') asked.push(`${request.method} ${path} ${body}`.trim());
    if (request.method === 'DELETE') return json(session((current = { state: 'ending' })), 202);
    if (request.method === 'POST') return launches.shift() ?? json({}, 500);
    return json(session(current));
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function show() {
  const client = createQueryClient();
  client.setQueryData(['me'], { id: 'me', name: 'me' });
  render(
    <MantineProvider>
      <QueryClientProvider client={client}>
        <MemoryRouter initialEntries={['/sessions/s/relaunch']}>
          <Routes>
            <Route path="/sessions/:id/relaunch" element={<RelaunchPage />} />
            <Route path="/sessions/:id" element={<p>a session</p>} />
            <Route path="/sign-in" element={<p>sign in</p>} />
          </Routes>
        </MemoryRouter>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

function tell(change: object) {
  current = change;
  act(() => events?.({ data: JSON.stringify(session(change)) }));
}

test('the new one is launched when the old one has ended, and not before', async () => {
  show();
  fireEvent.click(await screen.findByRole('button', { name: 'End and relaunch' }));
  await screen.findByText(/Ending the session in virginia/);
  expect(asked).toHaveLength(1);
  tell({ state: 'ended', relaunch: null });
  await screen.findByText('a session');
  expect(asked[1]).toContain('"zone":"london"');
  expect(asked).toHaveLength(2);
});

test('a launch that is refused is told, and tried again on request', async () => {
  launches.unshift(json({ error: { code: 'capacity', message: 'no machine has room' } }, 409));
  show();
  fireEvent.click(await screen.findByRole('button', { name: 'End and relaunch' }));
  await screen.findByText(/Ending the session/);
  tell({ state: 'ended', relaunch: null });
  await screen.findByText(/no machine has room/i);
  fireEvent.click(screen.getByRole('button', { name: /again/i }));
  await screen.findByText('a session');
});

const homeless = (code: string, seconds?: string) =>
  new Response(JSON.stringify({ error: { code, message: 'this workspace cannot be launched: your home of it is in virginia' } }), {
    status: 409,
    headers: { 'Content-Type': 'application/json', ...(seconds === undefined ? {} : { 'Retry-After': seconds }) },
  });

async function relaunchRefused(...refusals: Response[]) {
  launches.unshift(...refusals);
  show();
  fireEvent.click(await screen.findByRole('button', { name: 'End and relaunch' }));
  await screen.findByText(/Ending the session/);
  tell({ state: 'ended', relaunch: null });
  await screen.findByText(/your home of it is in virginia/);
}

const launched = () => asked.filter((call) => call.startsWith('POST')).map((call) => JSON.parse(call.slice(call.indexOf('{'))) as object);

test('before anything ends, it is said that the session ends first', async () => {
  show();
  await screen.findByText('this session ends first');
  expect(asked).toEqual([]);
});

test('whose home is in another zone launches with a temporary one, and is not told to try the same again', async () => {
  await relaunchRefused(homeless('home_elsewhere'));
  expect(screen.queryByRole('button', { name: 'Try again' })).toBeNull();
  expect(screen.queryByRole('button', { name: 'Wait for it' })).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Launch with a temporary home' }));
  await screen.findByText('a session');
  expect(launched()).toEqual([
    { workspace_id: 'w', zone: 'london' },
    { workspace_id: 'w', zone: 'london', home: 'temporary' },
  ]);
});

test('whose home is in another zone can go back to it', async () => {
  await relaunchRefused(homeless('home_elsewhere'));
  fireEvent.click(screen.getByRole('button', { name: 'Launch where your home is' }));
  await screen.findByText('a session');
  expect(launched()[1]).toEqual({ workspace_id: 'w' });
});

test('a home that comes back is waited for, and why is read until then', async () => {
  await relaunchRefused(homeless('home_away', '1'), homeless('home_away', '1'));
  fireEvent.click(screen.getByRole('button', { name: 'Wait for it' }));
  await screen.findByText(/Waiting for your home/);
  expect(screen.getByText(/your home of it is in virginia/)).toBeTruthy();
  await screen.findByText('a session', {}, { timeout: 10_000 });
  expect(launched()).toHaveLength(3);
});

test('a session without an offer is shown as it is', async () => {
  current = { relaunch: null };
  show();
  await screen.findByText('a session');
});
