/** A page of administrators over a server that notes what it is sent, and answers as a test says. */

import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { fireEvent, render, screen } from '@testing-library/react';
import type { ReactNode } from 'react';
import { vi } from 'vitest';
import { permissions } from '../../api/permissions';
import { createQueryClient } from '../../api/queries';

export interface Sent {
  call: string;
  body: unknown;
}

const admin = { id: 'me', name: 'admin', role: 'admin', permissions };

const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });

export const refusal = (status: number, message: string, fields: { field: string; message: string }[] = []) =>
  json({ error: { code: 'invalid', message, fields } }, status);

/** `answers` has the answer to what is not a question; each question has an empty list. */
export function stage(answers: () => Response | null, lists: Record<string, unknown[]> = {}): Sent[] {
  const sent: Sent[] = [];
  vi.stubGlobal('fetch', async (request: Request) => {
    const { pathname, search } = new URL(request.url);
    const path = pathname.replace('/api/v1', '');
    if (path === '/auth/me') return json(admin);
    if (request.method === 'GET') return json({ items: lists[path] ?? [], next: null });
    const text = await request.text();
    sent.push({ call: `${request.method} ${path}${search}`, body: text === '' ? null : JSON.parse(text) });
    return answers() ?? json({});
  });
  return sent;
}

/** Shows a part of the console to an administrator; what it returns shows another in its place. */
export function show(part: ReactNode): (part: ReactNode) => void {
  const client = createQueryClient();
  client.setQueryData(['me'], admin);
  const within = (what: ReactNode) => (
    <MantineProvider>
      <QueryClientProvider client={client}>{what}</QueryClientProvider>
    </MantineProvider>
  );
  const { rerender } = render(within(part));
  return (next) => rerender(within(next));
}

export const write = (label: string, value: string) => fireEvent.change(screen.getByLabelText(label), { target: { value } });
export const shownIn = (label: string) => screen.getByLabelText<HTMLInputElement>(label).value;
