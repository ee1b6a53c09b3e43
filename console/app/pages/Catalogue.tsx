import { Button, Skeleton } from '@mantine/core';
import { useSessionStorage } from '@mantine/hooks';
import { useEffect, useRef, useState } from 'react';
import { useLiveSessions, useMe, useWorkspaces } from '../api/queries';
import { Empty } from '../ui/Empty';
import { ProblemNote } from '../ui/ProblemNote';
import { useTitle } from '../ui/useTitle';
import { SessionList } from '../session/SessionList';
import classes from './Catalogue.module.css';
import { FullExplanation } from './FullExplanation';
import { WorkspaceCard } from './WorkspaceCard';
import { ZonePicker } from './ZonePicker';

export default function Catalogue() {
  useTitle('Catalogue');
  const me = useMe().data?.id ?? '';
  // Kept while the tab is: a choice for today, not a setting.
  const [zone, setZone] = useSessionStorage({ key: `meridian.zone.${me}`, defaultValue: '' });
  const chosen = zone === '' ? null : zone;
  const workspaces = useWorkspaces(chosen);
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
        <div className={classes.head}>
          <h1 id="catalogue">Catalogue</h1>
          <ZonePicker zone={zone} onChange={setZone} />
        </div>
        {workspaces.isError && (
          <ProblemNote error={workspaces.error} onRetry={() => void workspaces.refetch()}>
            {chosen !== null && <Anyway onClick={() => setZone('')} />}
          </ProblemNote>
        )}
        {refusal !== null && (
          <div ref={note} className={classes.refusal}>
            <ProblemNote error={refusal}>
              <FullExplanation error={refusal} />
            </ProblemNote>
          </div>
        )}
        {workspaces.isPending && <CardSkeletons />}
        {workspaces.data?.length === 0 && chosen === null && (
          <Empty title="There is nothing to launch yet">
            <span>An administrator adds workspaces; ask yours.</span>
          </Empty>
        )}
        {workspaces.data?.length === 0 && chosen !== null && (
          <Empty title={`Nothing can be launched in ${chosen}`}>
            <Anyway onClick={() => setZone('')} />
          </Empty>
        )}
        {workspaces.data && workspaces.data.length > 0 && (
          <ul className={classes.cards}>
            {workspaces.data.map((workspace) => (
              <WorkspaceCard key={workspace.id} workspace={workspace} zone={chosen} onRefused={setRefusal} />
            ))}
          </ul>
        )}
      </section>
    </>
  );
}

function Anyway({ onClick }: { onClick: () => void }) {
  return (
    <Button variant="light" onClick={onClick}>
      Show what there is in any zone
    </Button>
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
