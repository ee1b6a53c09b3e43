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
}

export function HomeTable({ homes, others = false, onReset }: Props) {
  return (
    <DataTable
      caption="Homes"
      rows={homes}
      rowKey={(home) => home.id}
      columns={[
        { label: 'Workspace', render: (home) => <Workspace home={home} /> },
        ...(others ? [{ label: 'User', render: (home: Home) => home.user.name }] : []),
        { label: 'State', render: (home) => <State state={home.state} /> },
        { label: 'Zone', render: (home) => home.zone ?? '—' },
        { label: 'Agent', render: (home) => home.agent },
        { label: 'Size', numeric: true, render: (home) => homeSize(home.size_mb) },
        { label: 'Last used', render: (home) => <When at={home.used_at} /> },
        ...(onReset === undefined ? [] : [{ label: 'Reset', render: (home: Home) => <Reset home={home} others={others} onReset={onReset} /> }]),
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
