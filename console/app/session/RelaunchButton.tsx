import { Button } from '@mantine/core';
import { Link } from 'react-router';
import type { Session } from '../api/types';

/** Where an administrator moved the session's user to another zone: the way to follow. */
export function RelaunchButton({ session, compact = false }: { session: Session; compact?: boolean }) {
  if (!session.relaunch) return null;
  const { zone, because } = session.relaunch;
  return (
    <Button
      component={Link}
      to={`/sessions/${session.id}/relaunch`}
      size={compact ? 'compact-xs' : 'sm'}
      variant="light"
      title={`${because}: the workspace can be launched again there.`}
    >
      Relaunch in {zone}
    </Button>
  );
}
