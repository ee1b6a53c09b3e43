import { Badge, Button, Group, Stack } from '@mantine/core';
import { useState } from 'react';
import { useChangeWorkspace, useCreateWorkspace, useDeleteWorkspace, useWholeCatalogue } from '../../api/deployment';
import { may } from '../../api/permissions';
import { useMe } from '../../api/queries';
import type { Workspace } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { SidePanel } from '../../ui/SidePanel';
import { WorkspaceArt } from '../../ui/WorkspaceArt';
import { useConfirm } from '../../ui/useConfirm';
import { useTitle } from '../../ui/useTitle';
import { LaunchPreview } from './LaunchPreview';
import { Offer } from './Offer';
import { WorkspaceForm, basics, plain } from './WorkspaceForm';

/** The whole catalogue: who each entry is for, where it is offered, and what would become of a launch. */
export default function Workspaces() {
  useTitle('Workspaces');
  const me = useMe().data ?? null;
  const workspaces = useWholeCatalogue();
  const items = workspaces.data ?? [];
  const [shownId, setShownId] = useState<string | null>(null);
  const [panel, setPanel] = useState<'none' | 'new' | 'one'>('none');
  const shown = items.find((workspace) => workspace.id === shownId);
  const show = (workspace: Workspace) => {
    setShownId(workspace.id);
    setPanel('one');
  };
  return (
    <Stack>
      <PageHead title="Workspaces">
        {may(me, 'workspaces:create') && <Button onClick={() => setPanel('new')}>New workspace</Button>}
      </PageHead>
      {workspaces.isError && <ProblemNote error={workspaces.error} onRetry={() => void workspaces.refetch()} />}
      {workspaces.isPending && <PageSkeleton />}
      {workspaces.data && items.length === 0 && (
        <Empty title="The catalogue is empty">
          <span>
            Add a workspace here, or fill it from files: <code>meridian admin workspaces apply</code>.
          </span>
        </Empty>
      )}
      {items.length > 0 && (
        <DataTable
          caption="Workspaces"
          rows={items}
          rowKey={(workspace) => workspace.id}
          columns={[
            { label: 'Workspace', render: (workspace) => <Name workspace={workspace} /> },
            { label: 'Takes', render: takes },
            { label: 'For', render: (workspace) => <Restricted to={workspace.groups} free="everybody" none="nobody" /> },
            { label: 'Zones', render: (workspace) => <Restricted to={workspace.zones} free="all" none="none" /> },
            { label: 'Agents', render: (workspace) => labels(workspace) || 'any' },
            {
              label: 'Details',
              render: (workspace) => (
                <Button size="compact-sm" variant="light" aria-label={`Show ${workspace.name}`} onClick={() => show(workspace)}>
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      <SidePanel opened={panel === 'new'} onClose={() => setPanel('none')} title="New workspace">
        {panel === 'new' && <NewWorkspace onDone={show} />}
      </SidePanel>
      <SidePanel opened={panel === 'one'} onClose={() => setPanel('none')} title={shown?.name}>
        {shown && <Details key={shown.id} workspace={shown} onGone={() => setPanel('none')} />}
      </SidePanel>
    </Stack>
  );
}

function NewWorkspace({ onDone }: { onDone: (workspace: Workspace) => void }) {
  const create = useCreateWorkspace();
  return (
    <WorkspaceForm
      before={plain}
      action="Make the workspace"
      error={create.error}
      pending={create.isPending}
      onSend={(changes) => create.mutate({ ...basics, ...changes }, { onSuccess: onDone })}
    />
  );
}

function Name({ workspace }: { workspace: Workspace }) {
  return (
    <Group gap={10} wrap="nowrap">
      <WorkspaceArt icon={workspace.icon} small />
      <strong>{workspace.name}</strong>
    </Group>
  );
}

/** Whom or what it is restricted to; null is no restriction, and an empty list is one that nothing meets. */
function Restricted({ to, free, none }: { to: string[] | null | undefined; free: string; none: string }) {
  if (to === null || to === undefined) return <>{free}</>;
  if (to.length > 0) return <>{to.join(', ')}</>;
  return (
    <Badge variant="light" color="orange" radius="sm" tt="none">
      {none}
    </Badge>
  );
}

function Details({ workspace, onGone }: { workspace: Workspace; onGone: () => void }) {
  const me = useMe().data ?? null;
  const change = useChangeWorkspace();
  const remove = useDeleteWorkspace();
  const modify = may(me, 'workspaces:modify');
  const { ask, dialog } = useConfirm();
  return (
    <Stack>
      <Offer workspace={workspace} disabled={!modify} />
      {may(me, 'sessions:view') && <LaunchPreview workspace={workspace} />}
      <WorkspaceForm
        before={workspace}
        action="Save"
        disabled={!modify}
        error={change.error}
        pending={change.isPending}
        onSend={(patch, onDone) => change.mutate({ id: workspace.id, patch }, { onSuccess: onDone })}
      />
      {remove.error && <ProblemNote error={remove.error} />}
      {may(me, 'workspaces:delete') && (
        <Button
          color="red"
          variant="light"
          loading={remove.isPending}
          onClick={() =>
            ask({
              title: `Delete ${workspace.name}?`,
              text: 'Nobody can launch it any more. What runs of it goes on.',
              action: 'Delete',
              onConfirm: () => remove.mutate(workspace.id, { onSuccess: onGone }),
            })
          }
        >
          Delete the workspace
        </Button>
      )}
      {dialog}
    </Stack>
  );
}

function takes({ cpu, memory_mb: memory, gpu }: Workspace): string {
  const gpus = gpu > 0 ? `, ${gpu} GPU` : '';
  return `${cpu} ${cpu === 1 ? 'core' : 'cores'}, ${memory} MB${gpus}`;
}

function labels({ required_labels: required }: Workspace): string {
  return Object.entries(required ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
}
