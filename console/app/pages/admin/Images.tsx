import { Badge, Button, NativeSelect, Stack, Switch } from '@mantine/core';
import { useState } from 'react';
import { useImages } from '../../api/images';
import { may } from '../../api/permissions';
import { useMe, useZones } from '../../api/queries';
import type { ImageRow } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { SidePanel } from '../../ui/SidePanel';
import { useTitle } from '../../ui/useTitle';
import { ImageDetails } from './images/ImageDetails';
import { RegistryLogins } from './images/RegistryLogins';
import { WantImage } from './images/WantImage';
import { summary } from './images/standing';

/** What is where: every image that a zone wants or a workspace runs, on every agent. */
export default function Images() {
  useTitle('Images');
  const me = useMe().data ?? null;
  const zones = useZones().data?.map((zone) => zone.zone_name) ?? [];
  const [zone, setZone] = useState('');
  const [warned, setWarned] = useState(false);
  const images = useImages(zone);
  const all = images.data?.pages.flatMap((page) => page.items) ?? [];
  const items = warned ? all.filter((row) => row.warnings.length > 0) : all;
  const [shownKey, setShownKey] = useState('');
  const [panel, setPanel] = useState<'none' | 'want' | 'logins' | 'one'>('none');
  const shown = all.find((row) => keyOf(row) === shownKey);
  const close = () => setPanel('none');
  return (
    <Stack>
      <PageHead title="Images">
        <NativeSelect
          aria-label="Zone"
          value={zone}
          onChange={(event) => setZone(event.currentTarget.value)}
          data={[{ value: '', label: 'All zones' }, ...zones]}
        />
        <Switch label="Only with warnings" checked={warned} onChange={(event) => setWarned(event.currentTarget.checked)} />
        <Button variant="default" onClick={() => setPanel('logins')}>
          Registry logins
        </Button>
        {may(me, 'images:create') && <Button onClick={() => setPanel('want')}>Want an image</Button>}
      </PageHead>
      {images.isError && <ProblemNote error={images.error} onRetry={() => void images.refetch()} />}
      {images.isPending && <PageSkeleton />}
      {images.data && items.length === 0 && (
        <Empty title={warned ? 'Nothing to warn of' : 'No image is wanted, and no workspace runs one'}>
          {!warned && 'Want an image, and each agent of its zone loads it ahead of need.'}
        </Empty>
      )}
      {items.length > 0 && (
        <DataTable
          caption="Images"
          rows={items}
          rowKey={keyOf}
          columns={[
            { label: 'Image', render: (row) => <strong style={{ overflowWrap: 'anywhere' }}>{row.reference}</strong> },
            { label: 'Zone', render: (row) => row.zone },
            { label: 'Wanted', render: (row) => (row.wanted ? 'yes' : 'no') },
            { label: 'Run by', render: (row) => row.workspaces.join(', ') || '—' },
            { label: 'Agents', render: (row) => <Agents row={row} /> },
            {
              label: 'Details',
              render: (row) => (
                <Button
                  size="compact-sm"
                  variant="light"
                  aria-label={`Show ${row.reference} in ${row.zone}`}
                  onClick={() => {
                    setShownKey(keyOf(row));
                    setPanel('one');
                  }}
                >
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      <ShowMore list={images} />
      <SidePanel opened={panel === 'want'} onClose={close} title="Want an image">
        {panel === 'want' && <WantImage zones={zones} first={zone} onDone={close} />}
      </SidePanel>
      <SidePanel opened={panel === 'logins'} onClose={close} title="Registry logins">
        {panel === 'logins' && <RegistryLogins zones={zones} first={zone} />}
      </SidePanel>
      <SidePanel opened={panel === 'one'} onClose={close} title={shown && `${shown.reference} in ${shown.zone}`}>
        {shown && <ImageDetails key={shownKey} row={shown} />}
      </SidePanel>
    </Stack>
  );
}

function keyOf({ zone, reference }: ImageRow): string {
  return `${zone}/${reference}`;
}

function Agents({ row }: { row: ImageRow }) {
  const [first, ...more] = row.warnings;
  return (
    <div>
      {summary(row.agents)}
      {first !== undefined && (
        <div style={{ fontSize: 'var(--mantine-font-size-xs)', maxWidth: '18rem' }} title={row.warnings.join('\n')}>
          <Badge variant="light" color="orange" size="sm" radius="sm" tt="none" mr={6}>
            warning
          </Badge>
          {first}
          {more.length > 0 && `, and ${more.length} more`}
        </div>
      )}
    </div>
  );
}
