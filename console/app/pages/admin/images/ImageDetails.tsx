import { Alert, Badge, Button, Progress, Stack } from '@mantine/core';
import { useUnwant, useWant } from '../../../api/images';
import { may } from '../../../api/permissions';
import { useMe } from '../../../api/queries';
import type { ImageCell, ImageRow } from '../../../api/types';
import { DataTable } from '../../../ui/DataTable';
import { Facts } from '../../../ui/Facts';
import { ProblemNote } from '../../../ui/ProblemNote';
import { When } from '../../../ui/When';
import { WarningIcon } from '../../../ui/icons';
import { percent, shortDigest, size, standing } from './standing';

const colors: Record<ImageCell['state'], string> = { absent: 'gray', queued: 'blue', pulling: 'blue', present: 'teal', failed: 'red' };

/** One image in one zone, agent by agent. */
export function ImageDetails({ row }: { row: ImageRow }) {
  const me = useMe().data ?? null;
  const want = useWant();
  const unwant = useUnwant();
  const problem = want.error ?? unwant.error;
  const wish = { zone: row.zone, reference: row.reference };
  return (
    <Stack>
      <Facts
        facts={[
          { name: 'Zone', value: row.zone },
          { name: 'Wanted on each agent', value: row.wanted ? 'yes' : 'no' },
          { name: 'Run by', value: row.workspaces.join(', ') || '—' },
        ]}
      />
      {row.warnings.length > 0 && (
        <Alert color="orange" variant="light" icon={<WarningIcon />} title="What to look at">
          <ul style={{ margin: 0, paddingLeft: 18 }}>
            {row.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </Alert>
      )}
      {row.agents.length > 0 && <h3>On its agents</h3>}
      {row.agents.length > 0 && (
        <DataTable
          caption="On its agents"
          rows={row.agents}
          rowKey={(cell) => cell.agent_id}
          columns={[
            { label: 'Agent', render: (cell) => <strong>{cell.agent}</strong> },
            { label: 'State', render: (cell) => <State cell={cell} /> },
            { label: 'Digest', render: (cell) => <code title={cell.digest ?? cell.image_id ?? undefined}>{shortDigest(cell.digest ?? cell.image_id)}</code> },
            { label: 'Size', numeric: true, render: (cell) => size(cell.size_bytes) },
            { label: 'Disk free', numeric: true, render: diskFree },
          ]}
        />
      )}
      {problem && <ProblemNote error={problem} />}
      {row.wanted && may(me, 'images:delete') && (
        <Button variant="default" loading={unwant.isPending} onClick={() => unwant.mutate(wish)}>
          Want it no longer
        </Button>
      )}
      {!row.wanted && may(me, 'images:create') && (
        <Button variant="light" loading={want.isPending} onClick={() => want.mutate(wish)}>
          Want it on each agent of {row.zone}
        </Button>
      )}
    </Stack>
  );
}

function State({ cell }: { cell: ImageCell }) {
  const done = percent(cell);
  return (
    <div>
      <Badge variant="light" color={cell.reachable ? colors[cell.state] : 'gray'} radius="sm" tt="none" miw="max-content">
        {standing(cell)}
      </Badge>
      {!cell.reachable && ' as last heard'}
      {done !== null && <Progress mt={4} size="sm" value={done} aria-label={`${cell.agent}: how much is there`} />}
      {cell.reason !== null && <div>{cell.reason}</div>}
      {cell.retry_at !== null && (
        <div>
          Tried again <When at={cell.retry_at} />
        </div>
      )}
    </div>
  );
}

function diskFree({ disk_free_mb: free, disk_total_mb: total }: ImageCell): string {
  if (free === null) return '—';
  return total === null ? size(free * 1e6) : `${Math.round((free / total) * 100)} %, ${size(free * 1e6)}`;
}
