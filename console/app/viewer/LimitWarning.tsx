import { Button } from '@mantine/core';
import { useEffect, useRef } from 'react';
import { useStay } from '../api/queries';
import type { Session } from '../api/types';
import classes from './Viewer.module.css';
import { inWords, limitOf } from './limits';
import { useServerNow } from './useServerNow';

/**
 * Says before it happens that the session reaches a limit. Where sitting still is the reason, a button answers, and so does whatever the
 * person does on the page.
 */
export function LimitWarning({ session }: { session: Session }) {
  const now = useServerNow();
  const limit = limitOf(session, now);
  const asks = limit?.what === 'idle';
  const { mutate, isPending } = useStay();
  const { id } = session;
  useAnySign(asks, () => mutate(id));
  return (
    <div className={classes.warning}>
      <div className={classes.badge} data-shown={limit !== null || undefined}>
        <span role="status">{limit?.text}</span>
        {limit && (
          <span className={classes.since} aria-hidden>
            {inWords(limit.left)}
          </span>
        )}
        {asks && (
          <Button size="compact-xs" variant="white" color="dark" loading={isPending} onClick={() => mutate(id)}>
            Stay
          </Button>
        )}
      </div>
    </div>
  );
}

/** The first key or movement while the question stands. A desktop keeps its events to itself, so they are heard on their way down. */
function useAnySign(asks: boolean, answer: () => void) {
  const latest = useRef(answer);
  useEffect(() => {
    latest.current = answer;
  });
  useEffect(() => {
    if (!asks) return;
    const hearing = new AbortController();
    const heard = () => {
      hearing.abort();
      latest.current();
    };
    for (const sign of ['keydown', 'pointermove', 'pointerdown', 'wheel'] as const) {
      window.addEventListener(sign, heard, { capture: true, passive: true, signal: hearing.signal });
    }
    return () => hearing.abort();
  }, [asks]);
}
