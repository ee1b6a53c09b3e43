import { Badge, Button, Text } from '@mantine/core';
import type { Home } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { When } from '../../ui/When';
import { homeSize, homeState, isResettable } from '../../ui/homeWords';

const colors: Record<string, string> = { free: 'teal', in_use: 'blue', away: 'orange', lost: 'red' };

interface Props {
  homes: Home[];
  /** Whether whose home it is needs to be said. */
  others?: boolean;
  /** Left out where the person may not. */
  onReset?: ((home: Home) => void) | undefined;
  onRelease?: ((home: Home) => void) | undefined;
}

export function HomeTable({ homes, others = false, onReset, onRelease }: Props) {
  return (
    <DataTable
      caption="Homes"
      rows={homes}
      rowKey={(home) => home.id}
      columns={[
        { label: 'Workspace', render: (home) => <Workspace home={home} /> },
        ...(others ? [{ label: 'User', breaks: true, render: (home: Home) => home.user.name }] : []),
        { label: 'State', render: (home) => <State state={home.state} /> },
        { label: 'Zone', render: (home) => home.zone ?? '—' },
        { label: 'Agent', render: (home) => <Place home={home} /> },
        { label: 'Size', numeric: true, render: (home) => homeSize(home.size_mb) },
        { label: 'Last used', render: (home) => <When at={home.used_at} /> },
        ...(onReset === undefined ? [] : [{ label: 'Reset', render: (home: Home) => <Reset home={home} others={others} onReset={onReset} /> }]),
        ...(onRelease === undefined || !homes.some(isHeld)
          ? []
          : [{ label: 'Release', render: (home: Home) => isHeld(home) && <Release home={home} onRelease={onRelease} /> }]),
      ]}
    />
  );
}

function Workspace({ home }: { home: Home }) {
  return (
    <>
      <strong>{home.name}</strong>
      {home.gone !== null && (
        <Text span size="sm" c="dimmed">
          {' '}
          ({home.gone} deleted)
        </Text>
      )}
    </>
  );
}

function Place({ home }: { home: Home }) {
  return home.storage === null ? <>{home.agent}</> : <span title={`Last on ${home.agent}`}>the zone’s storage</span>;
}

/** Whoever had it last does not answer: an administrator may take it from them. */
function isHeld(home: Home): boolean {
  return home.state === 'held';
}

function Release({ home, onRelease }: { home: Home; onRelease: (home: Home) => void }) {
  return (
    <Button
      size="compact-sm"
      variant="light"
      aria-label={`Take the home of ${home.name} of ${home.user.name} from ${home.agent}`}
      onClick={() => onRelease(home)}
    >
      Take by force
    </Button>
  );
}

function State({ state }: { state: Home['state'] }) {
  return (
    <Badge variant="light" radius="sm" tt="none" color={colors[state] ?? 'gray'}>
      {homeState(state)}
    </Badge>
  );
}

function Reset({ home, others, onReset }: { home: Home; others: boolean; onReset: (home: Home) => void }) {
  const name = others ? `the home of ${home.name} of ${home.user.name}` : `the home of ${home.name}`;
  return (
    <Button
      size="compact-sm"
      variant="light"
      color="red"
      disabled={!isResettable(home.state)}
      aria-label={`Reset ${name}`}
      onClick={() => onReset(home)}
    >
      Reset
    </Button>
  );
}
