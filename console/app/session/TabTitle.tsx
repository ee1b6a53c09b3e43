import type { Session } from '../api/types';
import { useTitle } from '../ui/useTitle';
import { useServerNow } from '../viewer/useServerNow';
import { attentionOf } from '../viewer/watches';

/** Names the page in its tab. A hidden page shows neither banner nor question, so its name says that somebody looks on, or asks to. */
export function TabTitle({ session }: { session: Session | undefined }) {
  const now = useServerNow();
  const name = session?.name ?? 'Session';
  const attention = session ? attentionOf(session, now) : null;
  useTitle(attention === null ? name : `● ${attention} · ${name}`);
  return null;
}
