import { Button, Group as Row, NumberInput, Stack, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { may } from '../../api/permissions';
import { useCreateGroup, useGroups } from '../../api/people';
import { asProblem } from '../../api/problem';
import { useMe } from '../../api/queries';
import type { Group } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { SidePanel } from '../../ui/SidePanel';
import { useTitle } from '../../ui/useTitle';
import { GroupDetails } from './GroupDetails';
import { settingName, shownSetting } from './settingWords';

export default function Groups() {
  useTitle('Groups');
  const me = useMe().data ?? null;
  const groups = useGroups();
  const items = groups.data?.pages.flatMap((page) => page.items) ?? [];
  const [shownId, setShownId] = useState<string | null>(null);
  const [panel, setPanel] = useState<'none' | 'new' | 'one'>('none');
  const shown = items.find((group) => group.id === shownId);
  const show = (group: Group) => {
    setShownId(group.id);
    setPanel('one');
  };
  return (
    <Stack>
      <PageHead title="Groups">
        {may(me, 'groups:create') && <Button onClick={() => setPanel('new')}>New group</Button>}
      </PageHead>
      {groups.isError && <ProblemNote error={groups.error} onRetry={() => void groups.refetch()} />}
      {groups.isPending && <PageSkeleton />}
      {items.length > 0 && (
        <DataTable
          caption="Groups"
          rows={items}
          rowKey={(group) => group.id}
          columns={[
            { label: 'Group', render: (group) => <strong>{group.name}</strong> },
            { label: 'Priority', numeric: true, render: (group) => (group.system === 'everyone' ? 'last' : group.priority) },
            { label: 'Members', numeric: true, render: (group) => group.members },
            { label: 'Decides', render: decides },
            {
              label: 'Administers',
              render: (group) => (group.system === 'administrators' ? 'everything' : group.permissions.join(', ') || '—'),
            },
            {
              label: 'Details',
              render: (group) => (
                <Button size="compact-sm" variant="light" aria-label={`Show ${group.name}`} onClick={() => show(group)}>
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      <ShowMore list={groups} />
      <SidePanel opened={panel === 'new'} onClose={() => setPanel('none')} title="New group">
        <NewGroup onDone={show} />
      </SidePanel>
      <SidePanel opened={panel === 'one'} onClose={() => setPanel('none')} title={shown?.name}>
        {shown && <GroupDetails key={shown.id} group={shown} onGone={() => setPanel('none')} />}
      </SidePanel>
    </Stack>
  );
}

function decides(group: Group): string {
  const settings = Object.entries(group.settings);
  return settings.map(([name, value]) => `${settingName(name)}: ${shownSetting(name, value)}`).join(' · ') || '—';
}

function NewGroup({ onDone }: { onDone: (group: Group) => void }) {
  const create = useCreateGroup();
  const [name, setName] = useState('');
  const [priority, setPriority] = useState(1000);
  const problem = create.error ? asProblem(create.error) : null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    create.mutate({ name, priority }, { onSuccess: onDone });
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack>
        <TextInput
          label="Name"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={problem?.at('name')}
          data-autofocus
        />
        <NumberInput
          label="Priority"
          description="The smaller number wins, setting by setting"
          min={1}
          max={999_999}
          value={priority}
          onChange={(value) => setPriority(Number(value))}
          error={problem?.at('priority')}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Row justify="flex-end">
          <Button type="submit" loading={create.isPending}>
            Make the group
          </Button>
        </Row>
      </Stack>
    </form>
  );
}
