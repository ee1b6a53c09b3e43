// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { cleanup, configure, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, expect, test, vi } from 'vitest';
import { Problem } from '../../../api/problem';
import type { ZonePatch } from '../../../api/types';
import { SettingsForm } from './SettingsForm';
import { fresh } from './settings';

configure({ asyncUtilTimeout: 20_000 });
vi.setConfig({ testTimeout: 60_000 });
afterEach(cleanup);

const before = { ...fresh, zone_name: 'london' };

function open(onSend: (patch: ZonePatch) => void, error: unknown = null, name = before) {
  render(
    <MantineProvider>
      <SettingsForm
        before={name}
        zones={['london', 'virginia']}
        disabled={false}
        action="Save"
        error={error}
        pending={false}
        onSend={onSend}
      />
    </MantineProvider>,
  );
}

const save = () => screen.getByRole('button', { name: 'Save' });

test('what is wrong is said at its field while it is typed, and is not sent', async () => {
  const sent: ZonePatch[] = [];
  open((patch) => sent.push(patch));
  const alternates = screen.getByLabelText('alternate_zones');
  await userEvent.type(alternates, 'atlantis');
  expect(alternates.getAttribute('aria-invalid')).toBe('true');
  await screen.findByText(/There is no zone atlantis. There are: virginia./);
  expect(save().hasAttribute('disabled')).toBe(true);
  await userEvent.clear(alternates);
  await userEvent.type(alternates, 'virginia');
  await userEvent.click(save());
  expect(sent).toEqual([{ alternate_zones: ['virginia'] }]);
});

test('a contradiction is said where it is, whichever side was touched', async () => {
  open(() => undefined, null, { ...before, search_alternate_zones: true });
  await userEvent.click(screen.getByRole('switch', { name: 'isolated' }));
  await screen.findByText(/An isolated zone borrows nothing: turn one of the two off./);
});

test('what the server has against a field stands there until it is touched', async () => {
  const problem = new Problem({
    status: 422,
    code: 'invalid',
    message: 'no',
    hop: null,
    hint: null,
    explanation: [],
    requestId: null,
    retryAfter: null,
    fields: [{ field: 'private_balancer', message: 'the server says no' }],
  });
  open(() => undefined, problem);
  await screen.findByText('the server says no');
  await userEvent.type(screen.getByLabelText('private_balancer'), 'b:7443');
  expect(screen.queryByText('the server says no')).toBeNull();
});
