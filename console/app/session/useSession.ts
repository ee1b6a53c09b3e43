import { useDocumentVisibility } from '@mantine/hooks';
import { useEffect, useState } from 'react';
import { sessionEventsUrl } from '../api/client';
import { isFinal, useNoteSession, useSessionQuery } from '../api/queries';
import type { Session } from '../api/types';

/**
 * One session, kept current by its event stream; while that does not flow, by asking every second, or now and then where the page is hidden; while
 * nobody is signed in, not at all.
 */
export function useSession(id: string, signedIn: boolean) {
  const [flowing, setFlowing] = useState(false);
  // A browser holds few connections to one host; tabs that nobody looks at leave theirs to the others.
  const visible = useDocumentVisibility() === 'visible';
  const query = useSessionQuery(id, flowing ? 'never' : visible ? 'often' : 'seldom', signedIn);
  const note = useNoteSession();
  const over = query.data !== undefined && isFinal(query.data.state);

  useEffect(() => {
    if (over || !visible || !signedIn) return;
    const events = new EventSource(sessionEventsUrl(id));
    events.onmessage = (event: MessageEvent<string>) => {
      setFlowing(true);
      note(JSON.parse(event.data) as Session);
    };
    // The browser reconnects by itself where it can; polling covers the time until then.
    events.onerror = () => setFlowing(false);
    return () => {
      events.close();
      setFlowing(false);
    };
    // `note` only writes to the cache and is the same in effect on every render.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [id, over, visible, signedIn]);

  // Events that flow are an answer, too: while they do, nothing is asked that could take a failure back.
  return { query, reachable: flowing || query.failureCount === 0 };
}
