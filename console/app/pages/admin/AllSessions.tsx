import { Button, SegmentedControl, Stack } from '@mantine/core';
import { useState } from 'react';
import { may } from '../../api/permissions';
import { isFinal, useEndSession, useMe, useSessions } from '../../api/queries';
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
  const sessions = useSessions({ all: true, ...(ended ? { ended: true } : {}) });
  const items = sessions.data?.pages.flatMap((page) => page.items) ?? [];
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
      {sessions.isError && <ProblemNote error={sessions.error} onRetry={() => void sessions.refetch()} />}
      {sessions.isPending && <PageSkeleton />}
      {sessions.data && items.length === 0 && <Empty title={ended ? 'No sessions yet' : 'Nobody has a session running'} />}
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
