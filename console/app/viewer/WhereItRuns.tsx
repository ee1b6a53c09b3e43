import { Popover, Text, UnstyledButton } from '@mantine/core';
import { useState } from 'react';
import type { Session } from '../api/types';
import { placeOf } from '../session/place';

/** The zone's name in the toolbar; asked, it says why there and how far that is. */
export function WhereItRuns({ session, className }: { session: Session; className: string | undefined }) {
  const [open, setOpen] = useState(false);
  const place = placeOf(session);
  if (place.why === null) return <span className={className}>{session.zone}</span>;
  return (
    <Popover opened={open} onChange={setOpen} position="bottom-start" width={320} withArrow shadow="md">
      <Popover.Target>
        <UnstyledButton
          className={className ?? ''}
          aria-label={`Runs in ${place.where}`}
          aria-expanded={open}
          onClick={() => setOpen((before) => !before)}
        >
          {session.zone}
          {place.elsewhere && ' (elsewhere)'}
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown>
        <Text size="sm" fw={600}>
          Runs in {place.where}
        </Text>
        <Text size="sm">{place.why}</Text>
      </Popover.Dropdown>
    </Popover>
  );
}
