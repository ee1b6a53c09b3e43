import { Skeleton } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { useLiveSessions, useWorkspaces, useZones } from '../api/queries';
import { Empty } from '../ui/Empty';
import { ProblemNote } from '../ui/ProblemNote';
import { useTitle } from '../ui/useTitle';
import { SessionList } from '../session/SessionList';
import classes from './Catalogue.module.css';
import { WorkspaceCard } from './WorkspaceCard';

export default function Catalogue() {
  useTitle('Catalogue');
  const workspaces = useWorkspaces();
  const zones = useZones();
  const sessions = useLiveSessions();
  const [refusal, setRefusal] = useState<unknown>(null);
  const note = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (refusal !== null) note.current?.scrollIntoView({ block: 'start', behavior: 'smooth' });
  }, [refusal]);
  return (
    <>
      {sessions.data && sessions.data.length > 0 && (
        <section className={classes.running} aria-labelledby="running">
          <h2 id="running">Running now</h2>
          <SessionList sessions={sessions.data} />
        </section>
      )}
      {sessions.isError && !sessions.data && <ProblemNote error={sessions.error} />}
      <section aria-labelledby="catalogue">
        <h1 id="catalogue">Catalogue</h1>
        {workspaces.isError && (
          <ProblemNote error={workspaces.error} onRetry={() => void workspaces.refetch()} />
        )}
        {refusal !== null && (
          <div ref={note} className={classes.refusal}>
            <ProblemNote error={refusal} />
          </div>
        )}
        {workspaces.isPending && <CardSkeletons />}
        {workspaces.data?.length === 0 && (
          <Empty title="There is nothing to launch yet">
            <span>An administrator adds workspaces; ask yours.</span>
          </Empty>
        )}
        {workspaces.data && workspaces.data.length > 0 && (
          <ul className={classes.cards}>
            {workspaces.data.map((workspace) => (
              <WorkspaceCard key={workspace.id} workspace={workspace} zones={zones.data ?? []} onRefused={setRefusal} />
            ))}
          </ul>
        )}
      </section>
    </>
  );
}

function CardSkeletons() {
  return (
    <div className={classes.cards} aria-busy="true" aria-label="Loading the catalogue">
      {[1, 2, 3].map((card) => (
        <Skeleton key={card} height={348} radius="md" />
      ))}
    </div>
  );
}
