import { Badge, Button, Group, NativeSelect, Stack } from '@mantine/core';
import { useState } from 'react';
import type { NodeFilter } from '../../api/client';
import { may } from '../../api/permissions';
import { useMe, useNodes, useZones } from '../../api/queries';
import type { Node } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { SidePanel } from '../../ui/SidePanel';
import { NodeStateBadge } from '../../ui/StateBadge';
import { When } from '../../ui/When';
import { useTitle } from '../../ui/useTitle';
import { JoinNode } from './JoinNode';
import { Meter } from './Meter';
import { NodeCapacity } from './NodeCapacity';
import { NodeOrders } from './NodeOrders';
import { isEmpty, whatIsLeft } from './drain';

const roles: Record<Node['role'], string> = {
  web: 'Web App',
  proxy: 'Proxy',
  agent: 'Agent',
  balance: 'Load balancer',
  connect: 'Connection Proxy',
};

export default function Nodes() {
  useTitle('Nodes');
  const me = useMe().data ?? null;
  const zones = useZones(true).data ?? [];
  const [zone, setZone] = useState('');
  const [role, setRole] = useState('');
  const nodes = useNodes(filterOf(zone, role));
  const [joining, setJoining] = useState(false);
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
      <PageHead title="Nodes">{may(me, 'nodes:create') && <Button onClick={() => setJoining(true)}>New node</Button>}</PageHead>
      <Group align="flex-end">
        <NativeSelect
          label="Zone"
          value={zone}
          onChange={(event) => setZone(event.currentTarget.value)}
          data={[{ value: '', label: 'all' }, ...zones.map(({ zone_name }) => zone_name)]}
        />
        <NativeSelect
          label="Role"
          value={role}
          onChange={(event) => setRole(event.currentTarget.value)}
          data={[{ value: '', label: 'all' }, ...Object.entries(roles).map(([value, label]) => ({ value, label }))]}
        />
      </Group>
      {nodes.isError && <ProblemNote error={nodes.error} onRetry={() => void nodes.refetch()} />}
      {nodes.isPending && <PageSkeleton />}
      {nodes.data && items.length === 0 && (
        <Empty title={zone === '' && role === '' ? 'No node has joined' : 'No such node'}>
          <span>
            <em>New node</em>, or <code>meridian admin nodes enroll</code>, makes the token with which one joins.
          </span>
        </Empty>
      )}
      {items.length > 0 && (
        <DataTable
          caption="Nodes"
          rows={items}
          rowKey={(node) => node.id}
          columns={[
            { label: 'Node', render: (node) => <strong style={{ whiteSpace: 'nowrap' }}>{node.name}</strong> },
            { label: 'Role', render: (node) => roles[node.role] },
            { label: 'Zone', render: (node) => node.zone ?? '—' },
            { label: 'State', render: (node) => <State node={node} /> },
            { label: 'Sessions', numeric: true, render: (node) => (node.role === 'agent' ? node.sessions : '—') },
            { label: 'Streams', numeric: true, render: (node) => (carriesStreams(node) ? node.streams : '—') },
            { label: 'Load', render: (node) => <Load node={node} /> },
            { label: 'Heard from', render: (node) => <When at={node.last_seen_at} /> },
            {
              label: 'Details',
              render: (node) => (
                <Button size="compact-sm" variant="light" aria-label={`Show ${node.name}`} onClick={() => show(node)}>
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      <ShowMore list={nodes} />
      <SidePanel opened={joining} onClose={() => setJoining(false)} title="New node">
        {joining && <JoinNode onDone={() => setJoining(false)} />}
      </SidePanel>
      <SidePanel opened={open} onClose={() => setOpen(false)} title={shown?.name}>
        {shown && <NodeDetails key={shown.id} node={shown} onGone={() => setOpen(false)} />}
      </SidePanel>
    </Stack>
  );
}

function filterOf(zone: string, role: string): NodeFilter {
  const wanted = (Object.keys(roles) as Node['role'][]).find((value) => value === role);
  return { ...(zone === '' ? {} : { zone }), ...(wanted === undefined ? {} : { role: wanted }) };
}

function State({ node }: { node: Node }) {
  const problems = node.problems.length;
  return (
    <>
      <NodeStateBadge state={node.state} />{' '}
      {node.state === 'draining' && carriesStreams(node) && (
        <Badge variant="light" color={isEmpty(node) ? 'teal' : 'gray'} radius="sm" tt="none">
          {isEmpty(node) ? 'empty' : `${whatIsLeft(node)} left`}
        </Badge>
      )}{' '}
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

function NodeDetails({ node, onGone }: { node: Node; onGone: () => void }) {
  const me = useMe().data ?? null;
  return (
    <Stack>
      {node.problems.length > 0 && (
        <Listed title="Problems" items={node.problems.map((problem) => problem.message)} />
      )}
      {node.quarantined.length > 0 && (
        <Listed title="Containers of sessions that nobody knows" items={node.quarantined} />
      )}
      <Facts
        facts={[
          { name: 'Id', value: node.id },
          { name: 'Role', value: roles[node.role] },
          { name: 'Zone', value: node.zone ?? '—' },
          { name: 'Address', value: node.address || '—' },
          { name: 'Version', value: node.version || '—' },
          { name: 'Heard from', value: <When at={node.last_seen_at} /> },
          { name: 'Home storage', value: node.home_storage ?? '—' },
          { name: 'Network modes', value: node.network_modes.join(', ') || '—' },
        ]}
      />
      {node.images.length > 0 && (
        <DataTable
          dense
          caption="Images on this host"
          rows={node.images}
          rowKey={(image) => image.reference}
          columns={[
            { label: 'Image', render: (image) => image.reference },
            { label: 'Id', render: (image) => <code>{shortId(image.image_id)}</code> },
          ]}
        />
      )}
      {node.role === 'agent' && node.capacity && <NodeCapacity node={node} disabled={!may(me, 'nodes:modify')} />}
      <NodeOrders node={node} onGone={onGone} />
    </Stack>
  );
}

function Listed({ title, items }: { title: string; items: string[] }) {
  return (
    <section>
      <h3>{title}</h3>
      <ul>
        {items.map((item) => (
          <li key={item}>{item}</li>
        ))}
      </ul>
    </section>
  );
}

function carriesStreams(node: Node): boolean {
  return node.role === 'proxy' || node.role === 'agent' || node.role === 'connect';
}

/** Enough of a digest to tell two apart. */
function shortId(id: string): string {
  return id.replace('sha256:', '').slice(0, 12);
}

function gigabytes(mb: number): number {
  return Number((mb / 1024).toFixed(1));
}
