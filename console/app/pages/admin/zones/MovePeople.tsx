import { Alert, Button, Fieldset, Group, NativeSelect, Stack, Text, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { type Wanted, useLookAtMove, useMove } from '../../../api/moves';
import { asProblem } from '../../../api/problem';
import type { Moved } from '../../../api/types';
import { DataTable } from '../../../ui/DataTable';
import { ProblemNote } from '../../../ui/ProblemNote';
import { useConfirm } from '../../../ui/useConfirm';
import { Moves } from './Moves';

const kinds = [
  { value: 'zone', label: 'Everybody of a zone' },
  { value: 'group', label: 'A group’s members' },
  { value: 'user', label: 'One user' },
] as const;

/** Moves people to another zone: first it is shown whom and what it concerns, then it is done; all of them are moved, or nobody. */
export function MovePeople({ zones }: { zones: string[] }) {
  const [wanted, setWanted] = useState<Wanted>({ kind: 'zone', subject: zones[0] ?? '', to: zones[1] ?? '' });
  const look = useLookAtMove();
  const move = useMove();
  const { ask, dialog } = useConfirm();
  const problem = look.error ? asProblem(look.error) : null;
  const isAtField = ['to', wanted.kind === 'zone' ? '' : wanted.kind].some((field) => (problem?.at(field) ?? null) !== null);
  const set = (change: Partial<Wanted>) => {
    setWanted({ ...wanted, ...change });
    look.reset();
    move.reset();
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    move.reset();
    look.mutate(wanted);
  };
  const confirm = (would: Moved) =>
    ask({
      title: `Move ${would.subject} to ${would.to}?`,
      text: `It concerns ${extent(would)}. What runs goes on, and is offered to be launched again in ${would.to}.`,
      action: 'Move them',
      onConfirm: () => move.mutate(wanted, { onSuccess: () => look.reset() }),
    });
  return (
    <Stack>
      <form onSubmit={submit} noValidate>
        <Fieldset legend="Whom, and where">
          <Stack gap="sm">
            <NativeSelect
              label="Whom"
              data={kinds}
              value={wanted.kind}
              onChange={(event) => {
                const kind = event.currentTarget.value as Wanted['kind'];
                set({ kind, subject: kind === 'zone' ? (zones[0] ?? '') : '' });
              }}
            />
            {wanted.kind === 'zone' ? (
              <NativeSelect label="Of zone" data={zones} value={wanted.subject} onChange={(event) => set({ subject: event.currentTarget.value })} />
            ) : (
              <TextInput
                label={wanted.kind === 'group' ? 'Group' : 'User'}
                description="Name or id"
                value={wanted.subject}
                onChange={(event) => set({ subject: event.currentTarget.value })}
                error={problem?.at(wanted.kind)}
              />
            )}
            <NativeSelect label="To zone" data={zones} value={wanted.to} onChange={(event) => set({ to: event.currentTarget.value })} error={problem?.at('to')} />
            <Group justify="flex-end">
              <Button type="submit" variant="light" loading={look.isPending} disabled={wanted.subject.trim() === ''}>
                Show what it would do
              </Button>
            </Group>
          </Stack>
        </Fieldset>
      </form>
      {problem && !isAtField && <ProblemNote error={problem} />}
      {look.data && <Would would={look.data} />}
      {move.isError && <ProblemNote error={move.error} />}
      {look.data && (
        <Button loading={move.isPending} disabled={look.data.refused > 0} onClick={() => confirm(look.data)}>
          Move them
        </Button>
      )}
      {move.data && (
        <Text role="status" size="sm">
          {move.data.subject} moved to {move.data.to}: {extent(move.data)}.
        </Text>
      )}
      <Moves />
      {dialog}
    </Stack>
  );
}

function Would({ would }: { would: Moved }) {
  return (
    <>
      <Alert
        color={would.refused > 0 ? 'red' : 'petrol'}
        role="status"
        title={would.refused > 0 ? `${would.refused} of ${would.people} may not be moved, so nobody is` : extent(would)}
      >
        {would.refused > 0
          ? 'Each of them is named below with the rule against it.'
          : `Sessions run on where they are, until their users launch them again in ${would.to}.`}
      </Alert>
      {would.first_people.length > 0 && (
        <DataTable
          dense
          caption="People"
          rows={would.first_people}
          rowKey={(person) => person.id}
          columns={[
            { label: 'User', breaks: true, render: (person) => person.name },
            { label: 'Home zone', render: (person) => person.from ?? '—' },
            { label: 'Outcome', render: (person) => person.refused_because ?? person.stays_because ?? 'is moved' },
          ]}
        />
      )}
      {would.first_sessions.length > 0 && (
        <DataTable
          dense
          caption="Sessions"
          rows={would.first_sessions}
          rowKey={(session) => session.id}
          columns={[
            { label: 'Workspace', render: (session) => session.workspace },
            { label: 'User', breaks: true, render: (session) => session.user },
            { label: 'Runs in', render: (session) => session.zone ?? '—' },
            { label: 'Outcome', render: (session) => session.stays_because ?? 'is offered there' },
          ]}
        />
      )}
    </>
  );
}

function extent({ people, sessions }: Moved): string {
  return `${people === 1 ? '1 person' : `${people} people`}, ${sessions === 1 ? '1 session' : `${sessions} sessions`}`;
}
