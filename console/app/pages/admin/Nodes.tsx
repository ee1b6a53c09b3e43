import { Badge, Button, Stack } from '@mantine/core';
import { useState } from 'react';
import { useNodes } from '../../api/queries';
import type { Node } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { SidePanel } from '../../ui/SidePanel';
import { NodeStateBadge } from '../../ui/StateBadge';
import { When } from '../../ui/When';
import { useTitle } from '../../ui/useTitle';
import { Meter } from './Meter';

const roles: Record<Node['role'], string> = {
  web: 'Web App',
  proxy: 'Dedicated Proxy',
  agent: 'Agent',
  balance: 'Load balancer',
  connect: 'Connection Proxy',
};

export default function Nodes() {
  useTitle('Nodes');
  const nodes = useNodes();
  const items = nodes.data?.pages.flatMap((page) => page.items) ?? [];
  const [shownId, setShownId] = useState<string | null>(null);
  const [open, setOpen] = useState(false);
  const shown = items.find((node) => node.id === shownId);
  const show = (node: Node) => {
    setShownId(node.id);
    setOpen(true);
  };
  return (
    <Stack>
      <PageHead title="Nodes" />
      {nodes.isError && <ProblemNote error={nodes.error} onRetry={() => void nodes.refetch()} />}
      {nodes.isPending && <PageSkeleton />}
      {nodes.data && items.length === 0 && <Empty title="No node has enrolled" />}
      {items.length > 0 && (
        <DataTable
          caption="Nodes"
          rows={items}
          rowKey={(node) => node.id}
          columns={[
            { label: 'Node', render: (node) => <strong>{node.name}</strong> },
            { label: 'Role', render: (node) => roles[node.role] },
            { label: 'Zone', render: (node) => node.zone ?? '—' },
            { label: 'State', render: (node) => <State node={node} /> },
            { label: 'Sessions', numeric: true, render: (node) => (node.role === 'agent' ? node.sessions : '—') },
            { label: 'Load', render: (node) => <Load node={node} /> },
            { label: 'Heard from', render: (node) => <When at={node.last_seen_at} /> },
            {
              label: 'Details',
              render: (node) => (
                <Button size="compact-sm" variant="light" onClick={() => show(node)}>
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      {nodes.hasNextPage && (
        <Button variant="default" onClick={() => void nodes.fetchNextPage()} loading={nodes.isFetchingNextPage}>
          Show more
        </Button>
      )}
      <SidePanel opened={open} onClose={() => setOpen(false)} title={shown?.name}>
        {shown && <NodeDetails node={shown} />}
      </SidePanel>
    </Stack>
  );
}

function State({ node }: { node: Node }) {
  const problems = node.reports.problems.length;
  return (
    <>
      <NodeStateBadge state={node.state} />{' '}
      {problems > 0 && (
        <Badge variant="light" color="orange" radius="sm" tt="none">
          {problems === 1 ? '1 problem' : `${problems} problems`}
        </Badge>
      )}
    </>
  );
}

function Load({ node }: { node: Node }) {
  if (node.cpu_total === 0 && node.memory_mb_total === 0) return <>—</>;
  return (
    <div style={{ display: 'grid', gap: 4 }}>
      <Meter name="CPU" used={node.cpu_used} total={node.cpu_total} unit="cores" />
      <Meter name="Memory" used={gigabytes(node.memory_mb_used)} total={gigabytes(node.memory_mb_total)} unit="GB" />
    </div>
  );
}

function NodeDetails({ node }: { node: Node }) {
  const { reports } = node;
  return (
    <Stack>
      {reports.problems.length > 0 && (
        <section>
          <h3>Problems</h3>
          <ul>
            {reports.problems.map((problem) => (
              <li key={problem}>{problem}</li>
            ))}
          </ul>
        </section>
      )}
      <Facts
        facts={[
          { name: 'Id', value: node.id },
          { name: 'Role', value: roles[node.role] },
          { name: 'Zone', value: node.zone ?? '—' },
          { name: 'Address', value: node.address ?? '—' },
          { name: 'Version', value: node.version ?? '—' },
          { name: 'Heard from', value: <When at={node.last_seen_at} /> },
          { name: 'Home storage', value: reports.home_storage ?? '—' },
          { name: 'Network modes', value: reports.network_modes.join(', ') || '—' },
        ]}
      />
      {node.images.length > 0 && (
        <DataTable
          dense
          caption="Images"
          rows={node.images}
          rowKey={(image) => image.reference}
          columns={[
            { label: 'Image', render: (image) => image.reference },
            { label: 'On this host', render: (image) => (image.present ? 'yes' : 'not yet') },
          ]}
        />
      )}
    </Stack>
  );
}

function gigabytes(mb: number): number {
  return Number((mb / 1024).toFixed(1));
}
