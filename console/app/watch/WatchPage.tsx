/** Looking on at somebody else's session, from the question to its end, at one address. */

import { Button, Group, Loader } from '@mantine/core';
import { Suspense, lazy, useState } from 'react';
import { Link, useParams } from 'react-router';
import { useEndWatch } from '../api/queries';
import type { Session, Watch } from '../api/types';
import { SessionFrame } from '../session/SessionFrame';
import { useSession } from '../session/useSession';
import { ProblemNote } from '../ui/ProblemNote';
import { useTitle } from '../ui/useTitle';
import { inWords } from '../viewer/limits';
import { useServerNow } from '../viewer/useServerNow';
import { overWords } from '../viewer/watches';

const LookingOn = lazy(() => import('./LookingOn'));

export default function WatchPage() {
  const { id = '', watch = '' } = useParams();
  return <OneWatch key={watch} id={id} watchId={watch} />;
}

function OneWatch({ id, watchId }: { id: string; watchId: string }) {
  const { query, reachable } = useSession(id, true);
  const session = query.data;
  const found = session?.watches?.find((each) => each.id === watchId) ?? null;
  // The server lets go of what is over after a while; this page does not.
  const [last, setLast] = useState<Watch | null>(null);
  if (found !== null && found !== last) setLast(found);
  const watch = found ?? last;
  useTitle(session ? `Looking on at ${session.name}` : 'Looking on');
  if (!session) {
    return (
      <SessionFrame title="Looking on">
        {query.isError ? <ProblemNote error={query.error} onRetry={() => void query.refetch()} /> : <Loader />}
      </SessionFrame>
    );
  }
  if (watch?.state === 'asked') return <Waiting session={session} watch={watch} />;
  if (watch?.state === 'allowed') {
    return (
      <Suspense fallback={<Loader aria-label="Loading the viewer" />}>
        <LookingOn session={session} watch={watch} reachable={reachable} />
      </Suspense>
    );
  }
  return <Over session={session} words={watch ? overWords(watch, session) : 'There is no such question any more.'} />;
}

function Waiting({ session, watch }: { session: Session; watch: Watch }) {
  const left = Math.max(0, Date.parse(watch.answer_by) - useServerNow());
  const end = useEndWatch();
  const name = session.user.name;
  return (
    <SessionFrame session={session} title={`Waiting for ${name}`}>
      <p role="status">
        {watch.seen
          ? `${name} sees your question. Nothing is shown to you before they allow it.`
          : `Nobody sees your question yet: no page of ${name}’s shows this desktop. It waits in case one comes.`}
      </p>
      <p aria-hidden>It goes away by itself in {inWords(left)}.</p>
      {end.isError && <ProblemNote error={end.error} />}
      <Group justify="flex-end" mt="lg">
        <Button
          variant="default"
          loading={end.isPending}
          onClick={() => end.mutate({ id: session.id, watch: watch.id })}
        >
          Take it back
        </Button>
      </Group>
    </SessionFrame>
  );
}

function Over({ session, words }: { session: Session; words: string }) {
  return (
    <SessionFrame session={session} title="Looking on is over">
      <p role="status">{words}</p>
      <Group justify="flex-end" mt="lg">
        <Button component={Link} to="/admin/sessions" variant="default">
          Back to the sessions
        </Button>
      </Group>
    </SessionFrame>
  );
}
