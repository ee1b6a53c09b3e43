import { Badge } from '@mantine/core';
import type { Node, SessionState } from '../api/types';

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

export function SessionStateBadge({ state }: { state: SessionState }) {
  return <StateBadge label={state} color={sessionColors[state]} />;
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
