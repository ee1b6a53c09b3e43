import { Button, Group, NativeSelect, SegmentedControl, Stack, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { may } from '../../api/permissions';
import { asProblem } from '../../api/problem';
import { isFinal, useEndSession, useMe, useSessions, useZones } from '../../api/queries';
import type { Session } from '../../api/types';
import { ExplanationView } from '../../session/ExplanationView';
import { placeOf } from '../../session/place';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { SidePanel } from '../../ui/SidePanel';
import { SessionStateBadge } from '../../ui/StateBadge';
import { sentence } from '../../ui/text';
import { When } from '../../ui/When';
import { useConfirm } from '../../ui/useConfirm';
import { useTitle } from '../../ui/useTitle';
import { AskToWatch } from './AskToWatch';
import { Homes } from './Homes';
import { Refusals } from './Refusals';

type View = 'live' | 'ended' | 'refused' | 'homes';

export default function AllSessions() {
  useTitle('Sessions');
  const [view, setView] = useState<View>('live');
  return (
    <Stack>
      <PageHead title="Sessions">
        <SegmentedControl
          aria-label="Which sessions"
          value={view}
          onChange={setView}
          data={[
            { value: 'live', label: 'Live' },
            { value: 'ended', label: 'All' },
            { value: 'refused', label: 'Refused launches' },
            { value: 'homes', label: 'Homes' },
          ]}
        />
      </PageHead>
      {view === 'refused' && <Refusals />}
      {view === 'homes' && <Homes />}
      {(view === 'live' || view === 'ended') && <SessionTable ended={view === 'ended'} />}
    </Stack>
  );
}

function SessionTable({ ended }: { ended: boolean }) {
  const zones = (useZones().data ?? []).map((zone) => zone.name);
  const [user, setUser] = useState('');
  const [asked] = useDebouncedValue(user.trim(), 300);
  const [zone, setZone] = useState('');
  const sessions = useSessions({
    all: true,
    ...(ended ? { ended: true } : {}),
    ...(asked === '' ? {} : { user: asked }),
    ...(zone === '' ? {} : { zone }),
  });
  const unknown = sessions.isError && asked !== '' ? asProblem(sessions.error).at('user') : null;
  // Of a filter that fails, nothing is shown: what was there before belongs to another.
  const items = sessions.isError ? [] : (sessions.data?.pages.flatMap((page) => page.items) ?? []);
  const filtered = asked !== '' || zone !== '';
  const [shown, setShown] = useState<Session | null>(null);
  // What is shown goes on changing; when the list lets it go, its last state stays.
  const current = items.find((session) => session.id === shown?.id) ?? shown;
  const [open, setOpen] = useState(false);
  const show = (session: Session) => {
    setShown(session);
    setOpen(true);
  };
  return (
    <>
      <Group align="flex-start">
        <TextInput
          label="Of whom"
          placeholder="everybody"
          value={user}
          onChange={(event) => setUser(event.currentTarget.value)}
          error={unknown && 'Nobody is called that'}
        />
        <NativeSelect
          label="Zone"
          value={zone}
          onChange={(event) => setZone(event.currentTarget.value)}
          data={[{ value: '', label: 'any' }, ...zones]}
        />
      </Group>
      {sessions.isError && unknown === null && <ProblemNote error={sessions.error} onRetry={() => void sessions.refetch()} />}
      {sessions.isPending && <PageSkeleton />}
      {sessions.isSuccess && items.length === 0 && <Empty title={none(ended, filtered)} />}
      {items.length > 0 && (
        <DataTable
          caption="Sessions"
          rows={items}
          rowKey={(session) => session.id}
          columns={[
            { label: 'Session', render: (session) => <strong>{session.name}</strong> },
            { label: 'User', breaks: true, render: (session) => session.user.name },
            { label: 'State', render: (session) => <SessionStateBadge session={session} /> },
            { label: 'Zone', render: (session) => <Zone session={session} /> },
            { label: 'Agent', render: (session) => session.agent ?? '—' },
            { label: 'Launched', render: (session) => <When at={session.created_at} /> },
            {
              label: 'Placement',
              render: (session) => (
                <Button
                  size="compact-sm"
                  variant="light"
                  aria-label={`Explain ${session.name} of ${session.user.name}`}
                  onClick={() => show(session)}
                >
                  Explain
                </Button>
              ),
            },
          ]}
        />
      )}
      <ShowMore list={sessions} />
      <SidePanel opened={open} onClose={() => setOpen(false)} title={current?.name}>
        {current && (
          <Stack>
            <Facts facts={facts(current)} />
            <ExplanationView session={current} />
            <AskToWatch session={current} />
            <EndForThem session={current} />
          </Stack>
        )}
      </SidePanel>
    </>
  );
}

function none(ended: boolean, filtered: boolean): string {
  if (filtered) return ended ? 'No such sessions' : 'No such session runs';
  return ended ? 'No sessions yet' : 'Nobody has a session running';
}

function EndForThem({ session }: { session: Session }) {
  const me = useMe().data ?? null;
  const end = useEndSession();
  const { ask, dialog } = useConfirm();
  if (isFinal(session.state) || !may(me, 'sessions:delete')) return null;
  return (
    <>
      {end.isError && <ProblemNote error={end.error} />}
      <Button
        color="red"
        variant="light"
        disabled={session.state === 'ending'}
        loading={end.isPending}
        onClick={() =>
          ask({
            title: `End ${session.name} of ${session.user.name}?`,
            text: 'The programs in it are closed, and what was not saved is lost. Its user is told that it ended.',
            action: 'End session',
            onConfirm: () => end.mutate(session.id),
          })
        }
      >
        End session
      </Button>
      {dialog}
    </>
  );
}

function Zone({ session }: { session: Session }) {
  const place = placeOf(session);
  return (
    <span title={place.why ?? undefined}>
      {session.zone}
      {place.elsewhere && ` (meant for ${session.choice?.zone ?? 'another'})`}
    </span>
  );
}

function facts(session: Session) {
  return [
    { name: 'Id', value: session.id },
    { name: 'Workspace', value: session.workspace.name },
    { name: 'User', value: session.user.name },
    { name: 'State', value: <SessionStateBadge session={session} /> },
    ...(session.frozen ? [{ name: 'Stands still', value: sentence(session.frozen.message) }] : []),
    { name: 'Started', value: <When at={session.started_at} /> },
    { name: 'Ended', value: <When at={session.ended_at} /> },
    { name: 'Reason', value: session.reason ?? '—' },
    { name: 'Looked on at by', value: onlookers(session) },
  ];
}

function onlookers({ watches = [] }: Session): string {
  const names = watches.filter((watch) => watch.state === 'allowed').map((watch) => watch.watcher.name);
  return names.length === 0 ? '—' : names.join(', ');
}
