import { Alert, Button, Stack } from '@mantine/core';
import { useChangeZone, useDeleteZone } from '../../../api/deployment';
import { may } from '../../../api/permissions';
import { useMe } from '../../../api/queries';
import type { Zone, ZoneDeletion, ZoneHealth } from '../../../api/types';
import { Facts } from '../../../ui/Facts';
import { ProblemNote } from '../../../ui/ProblemNote';
import { When } from '../../../ui/When';
import { useConfirm } from '../../../ui/useConfirm';
import { SettingsForm } from './SettingsForm';
import { ZoneNeeds } from './ZoneNeeds';
import { formOf } from './settings';

interface Props {
  zone: Zone;
  /** Names of all zones. */
  zones: string[];
  /** Null for whoever may not see nodes. */
  health: ZoneHealth | null;
  onGone: () => void;
}

/** One zone: how it is, what it needs, every setting, and its end. */
export function ZoneDetails({ zone, zones, health, onGone }: Props) {
  const me = useMe().data ?? null;
  const change = useChangeZone();
  return (
    <Stack>
      <Facts
        facts={[
          { name: 'Id', value: zone.id },
          ...(health
            ? [
                { name: 'Agents that take work', value: `${health.agents.ready} of ${health.agents.all}` },
                { name: 'Proxies that take work', value: `${health.proxies.ready} of ${health.proxies.all}` },
                { name: 'Sessions, live streams', value: `${health.sessions}, ${health.streams}` },
              ]
            : []),
          { name: 'Files applied last', value: <Applied zone={zone} /> },
        ]}
      />
      {zone.drifted === true && (
        <Alert color="yellow" variant="light" title="Changed since its file was applied">
          <code>meridian admin zones diff</code> shows how it differs; applying the file again takes the change back.
        </Alert>
      )}
      <ZoneNeeds zone={zone} />
      <SettingsForm
        before={formOf(zone)}
        zones={zones}
        disabled={!may(me, 'zones:modify')}
        action="Save"
        error={change.error}
        pending={change.isPending}
        onSend={(patch, onDone) => change.mutate({ id: zone.id, patch }, { onSuccess: onDone })}
      />
      {may(me, 'zones:delete') && <DeleteZone zone={zone} onGone={onGone} />}
    </Stack>
  );
}

function Applied({ zone }: { zone: Zone }) {
  if (!zone.applied_revision) return <>none</>;
  return (
    <>
      <code>{zone.applied_revision}</code>, <When at={zone.applied_at ?? null} />
    </>
  );
}

/** Drain, then delete: asked again until nothing of it works any more. */
function DeleteZone({ zone, onGone }: { zone: Zone; onGone: () => void }) {
  const remove = useDeleteZone();
  const { ask, dialog } = useConfirm();
  const { data, error } = remove;
  const draining = data?.state === 'draining' ? data : null;
  const send = () =>
    remove.mutate({ id: zone.id, drain: true }, { onSuccess: (answer) => (answer.state === 'deleted' ? onGone() : undefined) });
  return (
    <>
      {error && <ProblemNote error={error} />}
      {draining && <StillThere deletion={draining} />}
      <Button
        color="red"
        variant="light"
        loading={remove.isPending}
        onClick={() =>
          draining
            ? send()
            : ask({
                title: `Delete ${zone.zone_name}?`,
                text: 'Its nodes are drained and its sessions end, with the reason. What runs on nodes that do not answer is lost. It is gone when nothing of it works any more.',
                action: 'Drain and delete',
                onConfirm: send,
              })
        }
      >
        {draining ? 'Look again and delete' : 'Delete the zone'}
      </Button>
      {dialog}
    </>
  );
}

function StillThere({ deletion }: { deletion: ZoneDeletion }) {
  return (
    <Alert role="status" color="yellow" variant="light" title="It drains">
      Still there: {deletion.nodes} {deletion.nodes === 1 ? 'node' : 'nodes'} with {deletion.sessions}{' '}
      {deletion.sessions === 1 ? 'session' : 'sessions'}.
    </Alert>
  );
}
