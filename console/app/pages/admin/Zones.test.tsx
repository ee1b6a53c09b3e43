// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, configure, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { MemoryRouter } from 'react-router';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../../api/queries';
import Zones from './Zones';
import { fresh } from './zones/settings';

configure({ asyncUtilTimeout: 20_000 });
vi.setConfig({ testTimeout: 60_000 });

const zone = (name: string, applied: string, drifted: boolean) => ({
  ...fresh,
  alternate_zones: [],
  proxy_alternates: [],
  labels: {},
  id: `zon-${name}`,
  name,
  zone_name: name,
  default: false,
  probe: '',
  nodes_ready: 4,
  applied_revision: applied,
  applied_at: applied && '2026-11-20T08:00:00Z',
  drifted,
});

const answers: Record<string, unknown> = {
  '/auth/me': { id: 'u', name: 'admin', role: 'admin', must_change_password: false, permissions: ['zones:view', 'zones:modify'] },
  '/zones': { items: [zone('london', '4f2c1d9', true), zone('virginia', '4f2c1d9', false), zone('oslo', '', false)], next: null },
  '/zones/zon-london/requirements': {
    dns: [{ name: 'london.example.org', points_to: 'a balancer in front of its proxies' }],
    certificates: [{ name: 'cert.example.org', held_by: "this zone's proxies" }],
    warnings: [{ code: 'few_proxy', field: null, message: 'only one proxy of this zone can take work' }],
  },
};

beforeEach(() => {
  vi.stubGlobal('fetch', (request: Request) => {
    const body = answers[new URL(request.url).pathname.replace('/api/v1', '')] ?? { dns: [], certificates: [], warnings: [] };
    return Promise.resolve(new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } }));
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
          <Zones />
        </MemoryRouter>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

test('a zone that somebody changed since its file was applied is marked, and its details say of which revision', async () => {
  open();
  within(await screen.findByRole('row', { name: /london/ })).getByText('drifted');
  for (const other of [/virginia/, /oslo/]) {
    expect(within(screen.getByRole('row', { name: other })).queryByText('drifted')).toBeNull();
  }
  await userEvent.click(screen.getByRole('button', { name: 'Show london' }));
  await screen.findByText('Changed since its file was applied');
  screen.getByText('4f2c1d9');
});

test('what a zone needs of the world, and what is unwise about it, stands in its details', async () => {
  open();
  await userEvent.click(await screen.findByRole('button', { name: 'Show london' }));
  for (const text of ['london.example.org', 'cert.example.org', /only one proxy of this zone can take work/]) {
    await screen.findByText(text);
  }
});
