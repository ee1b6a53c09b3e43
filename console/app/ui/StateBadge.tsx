import { Badge } from '@mantine/core';
import type { Node, Session, SessionState } from '../api/types';

const sessionColors: Record<SessionState, string> = {
  starting: 'blue',
  running: 'teal',
  paused: 'gray',
  unreachable: 'orange',
  ending: 'gray',
  ended: 'gray',
  failed: 'red',
  lost: 'red',
};

const nodeColors: Record<Node['state'], string> = {
  ready: 'teal',
  draining: 'yellow',
  unreachable: 'orange',
  enrolled: 'gray',
};

export function SessionStateBadge({ session }: { session: Pick<Session, 'state' | 'frozen'> }) {
  if (session.frozen) return <StateBadge label="stands still" color="orange" />;
  return <StateBadge label={session.state} color={sessionColors[session.state]} />;
}

export function NodeStateBadge({ state }: { state: Node['state'] }) {
  return <StateBadge label={state} color={nodeColors[state]} />;
}

function StateBadge({ label, color }: { label: string; color: string | undefined }) {
  return (
    <Badge variant="light" color={color ?? 'gray'} tt="none" fw={600} radius="sm">
      {label}
    </Badge>
  );
}
