// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { MemoryRouter } from 'react-router';
import { afterEach, expect, test, vi } from 'vitest';
import type { Frozen, Session } from '../api/types';
import { StandsStill } from './StandsStill';

afterEach(cleanup);

const session = { id: 's', name: 'Desktop', state: 'running' } as Session;

function show(because: Frozen['because']) {
  const end = vi.fn();
  const frozen = { because, message: 'agent-1 does not reach the storage', hint: 'It goes on by itself.' };
  render(
    <MantineProvider>
      <MemoryRouter>
        <StandsStill session={session} frozen={frozen} onEnd={end} />
      </MemoryRouter>
    </MantineProvider>,
  );
  return end;
}

test('it says what stands still, why, and what to do, and offers no end of what goes on by itself', () => {
  show('storage_away');
  const { textContent } = screen.getByRole('alert');
  expect(textContent).toContain('Desktop stands still');
  expect(textContent).toContain('Agent-1 does not reach the storage.');
  expect(textContent).toContain('It goes on by itself.');
  expect(screen.queryByRole('button')).toBeNull();
});

test('one that does not go on can be ended there', () => {
  const end = show('overtaken');
  fireEvent.click(screen.getByRole('button', { name: 'End session' }));
  expect(end).toHaveBeenCalledOnce();
});
