import { Button, Stack, Switch } from '@mantine/core';
import { useState } from 'react';
import { useSessions } from '../../api/queries';
import type { Session } from '../../api/types';
import { ExplanationView } from '../../session/ExplanationView';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { SidePanel } from '../../ui/SidePanel';
import { SessionStateBadge } from '../../ui/StateBadge';
import { When } from '../../ui/When';
import { useTitle } from '../../ui/useTitle';

export default function AllSessions() {
  useTitle('Sessions');
  const [ended, setEnded] = useState(false);
  const sessions = useSessions({ all: true, ...(ended ? { ended: true } : {}) });
  const items = sessions.data?.pages.flatMap((page) => page.items) ?? [];
  const [shown, setShown] = useState<Session | null>(null);
  const [open, setOpen] = useState(false);
  const show = (session: Session) => {
    setShown(session);
    setOpen(true);
  };
  return (
    <Stack>
      <PageHead title="Sessions">
        <Switch
          label="Show ended ones"
          checked={ended}
          onChange={(event) => setEnded(event.currentTarget.checked)}
        />
      </PageHead>
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
            { label: 'User', render: (session) => session.user.name },
            { label: 'State', render: (session) => <SessionStateBadge state={session.state} /> },
            { label: 'Zone', render: (session) => session.zone },
            { label: 'Agent', render: (session) => session.agent ?? '—' },
            { label: 'Launched', render: (session) => <When at={session.created_at} /> },
            {
              label: 'Placement',
              render: (session) => (
                <Button size="compact-sm" variant="light" onClick={() => show(session)}>
                  Explain
                </Button>
              ),
            },
          ]}
        />
      )}
      {sessions.hasNextPage && (
        <Button variant="default" onClick={() => void sessions.fetchNextPage()} loading={sessions.isFetchingNextPage}>
          Show more
        </Button>
      )}
      <SidePanel opened={open} onClose={() => setOpen(false)} title={shown?.name}>
        {shown && (
          <Stack>
            <Facts facts={facts(shown)} />
            <ExplanationView sessionId={shown.id} />
          </Stack>
        )}
      </SidePanel>
    </Stack>
  );
}

function facts(session: Session) {
  return [
    { name: 'Id', value: session.id },
    { name: 'Workspace', value: session.workspace.name },
    { name: 'User', value: session.user.name },
    { name: 'State', value: <SessionStateBadge state={session.state} /> },
    { name: 'Started', value: <When at={session.started_at} /> },
    { name: 'Ended', value: <When at={session.ended_at} /> },
    { name: 'Reason', value: session.reason ?? '—' },
  ];
}
