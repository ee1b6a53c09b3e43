import { Button, Fieldset, Group as Row, NumberInput, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { may } from '../../api/permissions';
import { useChangeGroup, useDeleteGroup, useMembers, useSetMember, useSettings } from '../../api/people';
import { asProblem } from '../../api/problem';
import { useMe } from '../../api/queries';
import type { Group, SettingValue } from '../../api/types';
import { PermissionGrid } from '../../ui/PermissionGrid';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { useConfirm } from '../../ui/useConfirm';
import { SettingField } from './SettingField';

/** What a group is, decides and lets its members do. Each part is saved by itself. */
export function GroupDetails({ group, onGone }: { group: Group; onGone: () => void }) {
  const me = useMe().data ?? null;
  const modify = may(me, 'groups:modify');
  const remove = useDeleteGroup();
  const { ask, dialog } = useConfirm();
  return (
    <Stack>
      <General group={group} disabled={!modify} />
      <Settings key={group.version} group={group} disabled={!modify} />
      {group.system !== 'administrators' && <Permissions group={group} disabled={!modify} />}
      {group.system !== 'everyone' && <Members group={group} disabled={!modify} />}
      {remove.error && <ProblemNote error={remove.error} />}
      {group.system === null && may(me, 'groups:delete') && (
        <Button
          color="red"
          variant="light"
          onClick={() =>
            ask({
              title: `Delete ${group.name}?`,
              text: 'What it decided about its members, other groups decide from now on.',
              action: 'Delete',
              onConfirm: () => remove.mutate(group.id, { onSuccess: onGone }),
            })
          }
        >
          Delete the group
        </Button>
      )}
      {dialog}
    </Stack>
  );
}

function General({ group, disabled }: { group: Group; disabled: boolean }) {
  const change = useChangeGroup();
  const [name, setName] = useState(group.name);
  const [priority, setPriority] = useState(group.priority);
  const [description, setDescription] = useState(group.description);
  const problem = change.error ? asProblem(change.error) : null;
  const fixed = group.system !== null;
  const last = group.system === 'everyone';
  return (
    <Fieldset legend="General" disabled={disabled}>
      <Stack gap="sm">
        <TextInput
          label="Name"
          value={name}
          disabled={fixed}
          onChange={(event) => setName(event.currentTarget.value)}
          error={problem?.at('name')}
        />
        <NumberInput
          label="Priority"
          description={last ? 'Always the last' : 'The smaller number wins, setting by setting'}
          disabled={last}
          value={priority}
          onChange={(value) => setPriority(Number(value))}
          error={problem?.at('priority')}
        />
        <TextInput
          label="Description"
          value={description}
          onChange={(event) => setDescription(event.currentTarget.value)}
          error={problem?.at('description')}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Row justify="flex-end">
          <Button
            variant="light"
            loading={change.isPending}
            onClick={() =>
              change.mutate({
                id: group.id,
                patch: { description, ...(fixed ? {} : { name }), ...(last ? {} : { priority }) },
              })
            }
          >
            Save
          </Button>
        </Row>
      </Stack>
    </Fieldset>
  );
}

function Settings({ group, disabled }: { group: Group; disabled: boolean }) {
  const settings = useSettings();
  const change = useChangeGroup();
  /** Only what differs from the group; null leaves a setting to others. */
  const [draft, setDraft] = useState<Record<string, SettingValue>>({});
  const problem = change.error ? asProblem(change.error) : null;
  const valueOf = (name: string) => (name in draft ? draft[name] : group.settings[name]) ?? null;
  return (
    <Fieldset legend="What it decides" disabled={disabled}>
      <Stack gap="sm">
        {settings.data?.map((setting) => (
          <SettingField
            key={setting.name}
            setting={setting}
            value={valueOf(setting.name)}
            error={problem?.at(`settings.${setting.name}`) ?? null}
            onChange={(value) => setDraft({ ...draft, [setting.name]: value })}
          />
        ))}
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Row justify="flex-end">
          <Button
            variant="light"
            loading={change.isPending}
            disabled={Object.keys(draft).length === 0}
            onClick={() => change.mutate({ id: group.id, patch: { settings: draft } })}
          >
            Save
          </Button>
        </Row>
      </Stack>
    </Fieldset>
  );
}

function Permissions({ group, disabled }: { group: Group; disabled: boolean }) {
  const me = useMe().data ?? null;
  const change = useChangeGroup();
  const [held, setHeld] = useState(group.permissions);
  return (
    <Fieldset legend="What its members may administer" disabled={disabled}>
      <Stack gap="sm">
        <PermissionGrid held={held} mayGive={(permission) => may(me, permission)} onChange={setHeld} />
        {change.error && <ProblemNote error={change.error} />}
        <Row justify="flex-end">
          <Button
            variant="light"
            loading={change.isPending}
            disabled={[...held].sort().join() === [...group.permissions].sort().join()}
            onClick={() => change.mutate({ id: group.id, patch: { permissions: held } })}
          >
            Save
          </Button>
        </Row>
      </Stack>
    </Fieldset>
  );
}

function Members({ group, disabled }: { group: Group; disabled: boolean }) {
  const members = useMembers(group.id);
  const set = useSetMember();
  const [name, setName] = useState('');
  const items = members.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Fieldset legend="Members" disabled={disabled}>
      <Stack gap="xs">
        {members.isError && <ProblemNote error={members.error} onRetry={() => void members.refetch()} />}
        {set.error && <ProblemNote error={set.error} />}
        {members.data && items.length === 0 && <Text size="sm" c="dimmed">Nobody yet: add them by their names.</Text>}
        {items.map((user) => (
          <Row key={user.id} justify="space-between">
            <span>{user.name}</span>
            <Button
              size="compact-sm"
              variant="subtle"
              color="red"
              aria-label={`Remove ${user.name}`}
              onClick={() => set.mutate({ id: group.id, user: user.id, member: false })}
            >
              Remove
            </Button>
          </Row>
        ))}
        <ShowMore list={members} size="compact-sm" />
        <Row align="end">
          <TextInput
            label="Add somebody"
            placeholder="Their name"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            flex={1}
          />
          <Button
            variant="light"
            disabled={name.trim() === ''}
            loading={set.isPending}
            onClick={() =>
              set.mutate({ id: group.id, user: name.trim(), member: true }, { onSuccess: () => setName('') })
            }
          >
            Add
          </Button>
        </Row>
      </Stack>
    </Fieldset>
  );
}
