// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../../api/queries';
import type { Workspace } from '../../api/types';
import { Offer } from './Offer';
import { type Entry, WorkspaceForm, plain } from './WorkspaceForm';

const before: Entry = { ...plain, name: 'Desktop', image: 'desktop:1' };

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const shownIn = (label: string) => screen.getByLabelText<HTMLInputElement>(label).value;
const write = (label: string, value: string) => fireEvent.change(screen.getByLabelText(label), { target: { value } });
const save = () => screen.getByRole<HTMLButtonElement>('button', { name: 'Save' });

test('what a colleague changed meanwhile is shown, and survives what I save', () => {
  const sent: Partial<Entry>[] = [];
  const dones: (() => void)[] = [];
  const form = (entry: Entry) => (
    <MantineProvider>
      <WorkspaceForm
        before={entry}
        action="Save"
        error={null}
        pending={false}
        onSend={(changes, onDone) => {
          sent.push(changes);
          dones.push(onDone);
        }}
      />
    </MantineProvider>
  );
  const { rerender } = render(form(before));
  expect(save().disabled).toBe(true);
  write('Description', 'for everybody');
  rerender(form({ ...before, image: 'desktop:2', cpu: 4 }));
  expect(shownIn('Image')).toBe('desktop:2');
  expect(shownIn('Cores')).toBe('4');
  expect(shownIn('Description')).toBe('for everybody');
  fireEvent.click(save());
  expect(sent).toEqual([{ description: 'for everybody' }]);

  // What is typed while it is being saved is still there when that is done, and what was saved follows the server again.
  write('Name', 'Desk');
  rerender(form({ ...before, image: 'desktop:2', cpu: 4, description: 'for everybody' }));
  dones.forEach((done) => done());
  rerender(form({ ...before, image: 'desktop:2', cpu: 4, description: 'for guests' }));
  expect(shownIn('Name')).toBe('Desk');
  expect(shownIn('Description')).toBe('for guests');
  fireEvent.click(save());
  expect(sent[1]).toEqual({ name: 'Desk' });
});

test('who an entry is for is sent only as far as it was changed', async () => {
  const sent: unknown[] = [];
  vi.stubGlobal('fetch', async (request: Request) => {
    if (request.method === 'PATCH') sent.push(await request.json());
    return new Response('{}', { headers: { 'Content-Type': 'application/json' } });
  });
  const client = createQueryClient();
  const offer = (change: Partial<Workspace>) => (
    <MantineProvider>
      <QueryClientProvider client={client}>
        <Offer workspace={{ ...before, id: 'w', groups: null, zones: null, required_labels: {}, ...change } as Workspace} disabled={false} />
      </QueryClientProvider>
    </MantineProvider>
  );
  const { rerender } = render(offer({}));
  write('Zones', 'london');
  rerender(offer({ groups: ['Guests'] }));
  expect(shownIn('Groups')).toBe('Guests');
  fireEvent.click(save());
  await waitFor(() => expect(sent).toEqual([{ zones: ['london'] }]));
});
