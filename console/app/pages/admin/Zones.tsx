import { Badge, Button, Stack } from '@mantine/core';
import { useState } from 'react';
import { useZones } from '../../api/queries';
import type { Zone } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { SidePanel } from '../../ui/SidePanel';
import { useTitle } from '../../ui/useTitle';
import { zoneSettings } from './zoneSettings';

export default function Zones() {
  useTitle('Zones');
  const zones = useZones();
  const [shown, setShown] = useState<Zone | null>(null);
  const [open, setOpen] = useState(false);
  const show = (zone: Zone) => {
    setShown(zone);
    setOpen(true);
  };
  return (
    <Stack>
      <PageHead title="Zones" />
      {zones.isError && <ProblemNote error={zones.error} onRetry={() => void zones.refetch()} />}
      {zones.isPending && <PageSkeleton />}
      {zones.data?.length === 0 && <Empty title="No zone has been set up" />}
      {zones.data && zones.data.length > 0 && (
        <DataTable
          caption="Zones"
          rows={zones.data}
          rowKey={(zone) => zone.id}
          columns={[
            { label: 'Zone', render: (zone) => <ZoneName zone={zone} /> },
            { label: 'Nodes ready', numeric: true, render: (zone) => <NodesReady count={zone.nodes_ready} /> },
            { label: 'Placement', render: (zone) => words(zone.load_strategy) },
            { label: 'When full', render: overflow },
            { label: 'Proxy', render: (zone) => zone.proxy_hostname ?? '—' },
            {
              label: 'Settings',
              render: (zone) => (
                <Button size="compact-sm" variant="light" onClick={() => show(zone)}>
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      <SidePanel opened={open} onClose={() => setOpen(false)} title={shown?.zone_name}>
        {shown && <Facts facts={zoneSettings(shown)} />}
      </SidePanel>
    </Stack>
  );
}

function ZoneName({ zone }: { zone: Zone }) {
  return (
    <>
      <strong>{zone.zone_name}</strong>{' '}
      {zone.default && (
        <Badge variant="light" size="sm" radius="sm" tt="none">
          default
        </Badge>
      )}
    </>
  );
}

function NodesReady({ count }: { count: number | undefined }) {
  if (count === 0) return <strong style={{ color: 'var(--mantine-color-red-text)' }}>none</strong>;
  return <>{count ?? '—'}</>;
}

function overflow(zone: Zone): string {
  if (zone.isolated) return 'refuses (isolated)';
  if (!zone.search_alternate_zones) return 'refuses';
  const others = zone.alternate_zones ?? [];
  return others.length === 0 ? 'tries any other zone' : `tries ${others.join(', ')}`;
}

function words(name: string | undefined): string {
  return name === undefined ? '—' : name.replaceAll('_', ' ');
}
