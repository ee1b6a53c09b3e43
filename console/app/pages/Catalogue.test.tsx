// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, configure, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { MemoryRouter } from 'react-router';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../api/queries';
import Catalogue from './Catalogue';

configure({ asyncUtilTimeout: 20_000 });
vi.setConfig({ testTimeout: 60_000 });

const workspace = { id: 'w', name: 'Desktop', description: '', icon: 'desktop', image: 'i', cpu: 1, memory_mb: 512, gpu: 0, network: 'none' };
const zones = ['london', 'virginia', 'singapore'].map((name) => ({
  id: name,
  name,
  zone_name: name,
  default: false,
  probe: `https://${name}.example.org/desktop/probe`,
}));

let policy: { setting: string; value: unknown }[];
let asked: { call: string; body: unknown }[];
let probed: string[];
let reached: (address: string) => boolean;
let refusal: Response | null;

beforeEach(() => {
  policy = [];
  asked = [];
  probed = [];
  reached = () => true;
  refusal = null;
  sessionStorage.clear();
  vi.stubGlobal('requestIdleCallback', (callback: () => void) => setTimeout(callback));
  vi.stubGlobal('fetch', async (what: Request | string) => {
    if (typeof what === 'string') {
      probed.push(what);
      if (!reached(what)) throw new TypeError('no answer');
      return new Response(null, { status: 204 });
    }
    const { pathname, search } = new URL(what.url);
    const call = `${what.method} ${pathname.replace('/api/v1', '')}${search}`;
    asked.push({ call, body: what.method === 'POST' ? await what.json() : null });
    return answer(call);
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function answer(call: string): Response {
  if (call === 'POST /sessions' && refusal !== null) return refusal.clone();
  if (call === 'GET /auth/me') return json({ id: 'u', name: 'ada', role: 'user', permissions: [] });
  if (call === 'GET /users/u/policy') return json({ user: { id: 'u', name: 'ada' }, items: policy });
  if (call === 'GET /zones') return json({ items: zones, next: null });
  if (call === 'POST /zones/measurements') return json({ zone: 'virginia' });
  if (call === 'GET /workspaces?zone=virginia') return json({ items: [], next: null });
  if (call.startsWith('GET /workspaces')) return json({ items: [workspace], next: null });
  return json({ items: [], next: null });
}

function json(value: unknown): Response {
  return new Response(JSON.stringify(value), { headers: { 'Content-Type': 'application/json' } });
}

function open() {
  render(
    <MantineProvider>
      <QueryClientProvider client={createQueryClient()}>
        <MemoryRouter>
          <Catalogue />
        </MemoryRouter>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

async function choices(): Promise<(string | null)[]> {
  const picker = await screen.findByLabelText('Zone');
  return [...picker.querySelectorAll('option')].map((option) => option.value);
}

test('the zone is chosen by nobody who may not, and else among what policy allows', async () => {
  policy = [{ setting: 'allowed_zones', value: ['london', 'virginia'] }];
  open();
  expect(await choices()).toEqual(['', 'london', 'virginia']);
  cleanup();
  policy = [{ setting: 'zone_choice', value: false }];
  open();
  await screen.findByRole('button', { name: /Launch/ });
  await waitFor(() => expect(asked.some(({ call }) => call === 'POST /zones/measurements')).toBe(true));
  expect(screen.queryByLabelText('Zone')).toBeNull();
});

test('every zone is measured in several rounds, and the server is told what came back', async () => {
  reached = (address) => !address.includes('singapore');
  open();
  await screen.findByText(/Nearest to you: virginia/);
  const sent = asked.find(({ call }) => call === 'POST /zones/measurements')?.body as { zones: { zone: string; round_trips_ms: number[] }[] };
  const rounds = Object.fromEntries(sent.zones.map(({ zone, round_trips_ms: times }) => [zone, times.length]));
  expect(rounds).toEqual({ london: 5, virginia: 5, singapore: 0 });
  expect(probed.filter((address) => address.includes('singapore'))).toHaveLength(1);
});

test('a hidden tab measures nothing', async () => {
  const hidden = vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden');
  document.dispatchEvent(new Event('visibilitychange'));
  open();
  await choices();
  await new Promise((resolve) => setTimeout(resolve));
  expect(probed).toEqual([]);
  hidden.mockRestore();
  document.dispatchEvent(new Event('visibilitychange'));
  await screen.findByText(/Nearest to you/);
});

test('what cannot be launched in the chosen zone is not offered, and the launch names the zone', async () => {
  open();
  await choices();
  await userEvent.selectOptions(screen.getByLabelText('Zone'), 'virginia');
  await screen.findByText('Nothing can be launched in virginia');
  await userEvent.click(screen.getByRole('button', { name: 'Show what there is in any zone' }));
  await userEvent.selectOptions(screen.getByLabelText('Zone'), 'london');
  await userEvent.click(await screen.findByRole('button', { name: /Launch/ }));
  await waitFor(() => expect(asked.find(({ call }) => call === 'POST /sessions')?.body).toEqual({ workspace_id: 'w', zone: 'london' }));
});

test('whoever’s home is away may wait for it, or do without it this once', async () => {
  const error = { code: 'home_away', message: 'Your home is on a machine that does not answer', hint: 'Wait', request_id: 'r' };
  refusal = new Response(JSON.stringify({ error }), { status: 503, headers: { 'Content-Type': 'application/json', 'Retry-After': '1' } });
  const launches = () => asked.filter(({ call }) => call === 'POST /sessions').map(({ body }) => body);
  open();
  await userEvent.click(await screen.findByRole('button', { name: /Launch/ }));
  await userEvent.click(await screen.findByRole('button', { name: 'Wait for it' }));
  await screen.findByRole('status');
  await waitFor(() => expect(launches().length).toBeGreaterThan(2), { timeout: 20_000 });
  await userEvent.click(screen.getByRole('button', { name: 'Stop waiting' }));
  expect(screen.queryByRole('status')).toBeNull();
  await userEvent.click(screen.getByRole('button', { name: 'Launch with a temporary home' }));
  await waitFor(() => expect(launches().at(-1)).toEqual({ workspace_id: 'w', home: 'temporary' }));
});
