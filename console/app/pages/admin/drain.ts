import type { Node } from '../../api/types';

type Carrier = Pick<Node, 'role' | 'sessions' | 'streams'>;

/** Whether a node that is drained can be taken away. */
export function isEmpty({ sessions, streams }: Carrier): boolean {
  return streams === 0 && sessions === 0;
}

/** What keeps a drain from its end: sessions hold an agent, live streams a relay. */
export function whatIsLeft({ role, sessions, streams }: Carrier): string {
  if (role === 'agent') return sessions === 1 ? '1 session' : `${sessions} sessions`;
  return streams === 1 ? '1 stream' : `${streams} streams`;
}
