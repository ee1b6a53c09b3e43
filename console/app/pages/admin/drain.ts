import type { Node } from '../../api/types';

type Carrier = Pick<Node, 'role' | 'sessions' | 'streams'>;

/** Whether a node that is drained can be taken away. */
export function isEmpty({ sessions, streams }: Carrier): boolean {
  return streams === 0 && sessions === 0;
}

/** What keeps a drain from its end: sessions hold an agent, live streams a relay. */
export function whatIsLeft({ role, sessions, streams }: Carrier): string {
  return role === 'agent' ? counted(sessions, 'session', 'sessions') : counted(streams, 'stream', 'streams');
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** What becomes of a node that is removed, and of what is on it: for whoever is asked whether they mean it. */
export function whatRemovalDoes(node: Carrier & Pick<Node, 'state'>): { text: string; action: string } {
  if (node.role === 'web') {
    return { text: 'It does not answer. No session and no stream is lost by it; the other Web App nodes go on. Started again, it comes back by itself.', action: 'Remove' };
  }
  const last = node.role === 'agent' ? 'Homes that it keeps itself go with it. To come back, it must join anew.' : 'To come back, it must join anew.';
  const on = whatIsLeft(node);
  if (node.state === 'unreachable') {
    const lost = node.role === 'agent' && node.sessions > 0 ? ` What runs on it is lost: ${on}.` : '';
    return { text: `It does not answer, and is removed at once.${lost} ${last}`, action: 'Remove' };
  }
  if (isEmpty(node)) return { text: `Nothing is on it. ${last}`, action: 'Remove' };
  const end =
    node.role === 'agent'
      ? `What runs on it ends, with the reason: ${on}. What was not saved there is lost.`
      : `Its viewers move to another one: ${on}.`;
  return { text: `It takes nothing new. ${end} It is gone when nothing is on it any more. ${last}`, action: 'Drain and remove' };
}
