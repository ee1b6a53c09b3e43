// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../../api/queries';
import type { Workspace } from '../../api/types';
import { LaunchPreview } from './LaunchPreview';

const workspace: Workspace = { id: 'w', name: 'Desktop', description: '', icon: 'desktop', image: 'i', cpu: 1, memory_mb: 512, gpu: 0, network: 'none' } as Workspace;

let counts: Record<string, number>;
const json = (body: unknown) => new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } });

beforeEach(() => {
  vi.stubGlobal('fetch', (request: Request) => {
    if (!request.url.includes('/explain')) return Promise.resolve(json({ items: [], next: null }));
    const choice = { zone: 'london', because: 'it is your home zone', elsewhere_because: null };
    const preview = { user: 'ada', workspace: 'Desktop', hidden_because: null, refusal: null, choice, home: null };
    return Promise.resolve(json({ ...preview, zones: [], counts, candidates: [], next: null }));
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

async function said(these: Record<string, number>): Promise<string> {
  counts = these;
  const client = createQueryClient();
  client.setQueryData(['me'], { id: 'a', name: 'ada', role: 'admin', permissions: [] });
  render(
    <MantineProvider>
      <QueryClientProvider client={client}>
        <LaunchPreview workspace={workspace} />
      </QueryClientProvider>
    </MantineProvider>,
  );
  const status = await screen.findByRole('status');
  const text = status.textContent;
  cleanup();
  return text.replace('It would be asked for in london, because it is your home zone; ', '');
}

test('agents that would load the image first can take it, too, and it is said that they load it', async () => {
  expect(await said({ 'fits, without its image': 3, draining: 1 })).toBe('3 of the agents could take it, but none has its image: it would be loaded first.');
  expect(await said({ 'fits, without its image': 2, 'fits, but failed to load its image': 1 })).toBe(
    '3 of the agents could take it, but none has its image: it would be loaded first, which failed the last time on 1 of them.',
  );
  expect(await said({ 'fits, but failed to load its image': 1 })).toBe(
    '1 of the agents could take it, but none has its image: it would be loaded first, which failed the last time.',
  );
  expect(await said({ fits: 1, 'fits, without its image': 2 })).toBe('3 of the agents could take it, and 2 of them would have to load its image first.');
});

test('how many could take it, and that none could, is said without more where images play no part', async () => {
  expect(await said({ fits: 2, draining: 1 })).toBe('2 of the agents could take it.');
  expect(await said({ 'no image yet': 2 })).toBe('no agent could take it now.');
});
