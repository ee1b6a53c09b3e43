import { Badge, Button, Group, Stack } from '@mantine/core';
import { useState } from 'react';
import { useCreateZone } from '../../api/deployment';
import { may } from '../../api/permissions';
import { useMe, useZoneHealth, useZones } from '../../api/queries';
import type { Zone, ZoneHealth } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { SidePanel } from '../../ui/SidePanel';
import { useTitle } from '../../ui/useTitle';
import { Meter } from './Meter';
import { MovePeople } from './zones/MovePeople';
import { SettingsForm } from './zones/SettingsForm';
import { ZoneDetails } from './zones/ZoneDetails';
import { judge } from './zones/health';
import { fresh } from './zones/settings';

export default function Zones() {
  useTitle('Zones');
  const me = useMe().data ?? null;
  const zones = useZones(true);
  const items = zones.data ?? [];
  const names = items.map((zone) => zone.zone_name);
  const health = useZoneHealth(may(me, 'nodes:view')).data;
  const healthOf = (zone: Zone) => health?.find((of) => of.zone === zone.zone_name) ?? null;
  const [shownId, setShownId] = useState<string | null>(null);
  const [panel, setPanel] = useState<'none' | 'new' | 'one' | 'move'>('none');
  const shown = items.find((zone) => zone.id === shownId);
  const show = (zone: Zone) => {
    setShownId(zone.id);
    setPanel('one');
  };
  return (
    <Stack>
      <PageHead title="Zones">
        {may(me, 'zones:modify') && names.length > 1 && (
          <Button variant="default" onClick={() => setPanel('move')}>
            Move people
          </Button>
        )}
        {may(me, 'zones:create') && <Button onClick={() => setPanel('new')}>New zone</Button>}
      </PageHead>
      {zones.isError && <ProblemNote error={zones.error} onRetry={() => void zones.refetch()} />}
      {zones.isPending && <PageSkeleton />}
      {zones.data && items.length === 0 && (
        <Empty title="No zone has been set up">A zone is where workspaces run: its agents, and the proxies near its users.</Empty>
      )}
      {items.length > 0 && (
        <DataTable
          caption="Zones"
          rows={items}
          rowKey={(zone) => zone.id}
          columns={[
            { label: 'Zone', render: (zone) => <ZoneName zone={zone} /> },
            { label: 'Health', render: (zone) => <Standing zone={zone} health={healthOf(zone)} /> },
            { label: 'Promised', render: (zone) => <Capacity health={healthOf(zone)} /> },
            { label: 'Sessions', numeric: true, render: (zone) => healthOf(zone)?.sessions ?? '—' },
            { label: 'When full', render: overflow },
            {
              label: 'Details',
              render: (zone) => (
                <Button size="compact-sm" variant="light" aria-label={`Show ${zone.zone_name}`} onClick={() => show(zone)}>
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      <SidePanel opened={panel === 'new'} onClose={() => setPanel('none')} title="New zone">
        {panel === 'new' && <NewZone zones={names} onDone={show} />}
      </SidePanel>
      <SidePanel opened={panel === 'move'} onClose={() => setPanel('none')} title="Move people to another zone">
        {panel === 'move' && <MovePeople zones={names} />}
      </SidePanel>
      <SidePanel opened={panel === 'one'} onClose={() => setPanel('none')} title={shown?.zone_name}>
        {shown && (
          <ZoneDetails
            key={shown.id}
            zone={shown}
            zones={names}
            health={healthOf(shown)}
            onGone={() => setPanel('none')}
          />
        )}
      </SidePanel>
    </Stack>
  );
}

function NewZone({ zones, onDone }: { zones: string[]; onDone: (zone: Zone) => void }) {
  const create = useCreateZone();
  return (
    <SettingsForm
      fresh
      before={fresh}
      zones={zones}
      disabled={false}
      action="Make the zone"
      error={create.error}
      pending={create.isPending}
      onSend={(patch) => create.mutate(patch, { onSuccess: onDone })}
    />
  );
}

function ZoneName({ zone }: { zone: Zone }) {
  return (
    <Group gap={6}>
      <strong>{zone.zone_name}</strong>
      {zone.default && <Mark color="petrol" text="default" />}
      {zone.isolated === true && <Mark color="gray" text="isolated" />}
      {zone.drifted === true && <Mark color="yellow" text="drifted" />}
    </Group>
  );
}

function Mark({ color, text }: { color: string; text: string }) {
  return (
    <Badge variant="light" color={color} size="sm" radius="sm" tt="none">
      {text}
    </Badge>
  );
}

/** In a word, with the first worry beneath; the rest is told where its details are. */
function Standing({ zone, health }: { zone: Zone; health: ZoneHealth | null }) {
  if (health === null) return <>{zone.nodes_ready === undefined ? '—' : `${zone.nodes_ready} nodes ready`}</>;
  const { down, worries } = judge(zone, health);
  if (worries.length === 0) return <Mark color="teal" text="well" />;
  const [first, ...more] = worries;
  return (
    <div>
      <Mark color={down ? 'red' : 'orange'} text={down ? 'down' : 'at risk'} />
      <div style={{ fontSize: 'var(--mantine-font-size-xs)', maxWidth: '17rem' }} title={worries.join('\n')}>
        {first}
        {more.length > 0 && `, and ${more.length} more`}
      </div>
    </div>
  );
}

function Capacity({ health }: { health: ZoneHealth | null }) {
  if (health === null || health.cpu_total === 0) return <>—</>;
  const gigabytes = (mb: number) => Number((mb / 1024).toFixed(1));
  return (
    <div style={{ display: 'grid', gap: 4 }}>
      <Meter name="CPU" used={Number(health.cpu_used.toFixed(2))} total={Number(health.cpu_total.toFixed(2))} unit="cores" />
      <Meter name="Memory" used={gigabytes(health.memory_mb_used)} total={gigabytes(health.memory_mb_total)} unit="GB" />
    </div>
  );
}

function overflow(zone: Zone): string {
  if (zone.isolated) return 'refuses (isolated)';
  if (!zone.search_alternate_zones) return 'refuses';
  const others = zone.alternate_zones ?? [];
  return others.length === 0 ? 'tries any other zone' : `tries ${others.join(', ')}`;
}
