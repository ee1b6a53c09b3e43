import { Button, Fieldset, Group as Row, NumberInput, Stack, Text, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { may } from '../../api/permissions';
import { useChangeGroup, useDeleteGroup, useMembers, useSetMember, useSettings } from '../../api/people';
import { asProblem } from '../../api/problem';
import { useMe } from '../../api/queries';
import type { Group, SettingValue } from '../../api/types';
import { PermissionGrid } from '../../ui/PermissionGrid';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { besideInput } from '../../ui/besideInput';
import { sentence } from '../../ui/text';
import { useConfirm } from '../../ui/useConfirm';
import { SettingField } from './SettingField';
import { useDraft } from './useDraft';

/** What a group is, decides and lets its members do. Each part is saved by itself. */
export function GroupDetails({ group, onGone }: { group: Group; onGone: () => void }) {
  const me = useMe().data ?? null;
  const modify = may(me, 'groups:modify');
  const remove = useDeleteGroup();
  const { ask, dialog } = useConfirm();
  return (
    <Stack>
      <General group={group} disabled={!modify} />
      <Settings group={group} disabled={!modify} />
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
  const { name, priority, description } = group;
  const before = { name, priority, description };
  const { form, set, saved } = useDraft(before);
  const changes = Object.fromEntries(Object.entries(form).filter(([field, value]) => before[field as keyof typeof before] !== value));
  const problem = change.error ? asProblem(change.error) : null;
  const last = group.system === 'everyone';
  return (
    <Fieldset legend="General" disabled={disabled}>
      <Stack gap="sm">
        <TextInput
          label="Name"
          value={form.name}
          disabled={group.system !== null}
          onChange={(event) => set({ name: event.currentTarget.value })}
          error={problem?.at('name')}
        />
        <NumberInput
          label="Priority"
          description={last ? 'Always the last' : 'The smaller number wins, setting by setting'}
          disabled={last}
          value={form.priority}
          onChange={(value) => set({ priority: Number(value) })}
          error={problem?.at('priority')}
        />
        <TextInput
          label="Description"
          value={form.description}
          onChange={(event) => set({ description: event.currentTarget.value })}
          error={problem?.at('description')}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Row justify="flex-end">
          <Button
            variant="light"
            loading={change.isPending}
            disabled={Object.keys(changes).length === 0}
            onClick={() => change.mutate({ id: group.id, patch: changes }, { onSuccess: saved })}
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
  /** Null leaves a setting to others. */
  const { form, draft, set, saved } = useDraft(group.settings);
  const same = (name: string) => JSON.stringify(form[name] ?? null) === JSON.stringify(group.settings[name] ?? null);
  const changes = Object.fromEntries(Object.entries(draft).filter(([name]) => !same(name))) as Record<string, SettingValue>;
  const problem = change.error ? asProblem(change.error) : null;
  return (
    <Fieldset legend="What it decides" disabled={disabled}>
      <Stack gap="sm">
        {settings.data?.map((setting) => (
          <SettingField
            key={setting.name}
            setting={setting}
            value={form[setting.name] ?? null}
            error={problem?.at(`settings.${setting.name}`) ?? null}
            onChange={(value) => set({ [setting.name]: value })}
          />
        ))}
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Row justify="flex-end">
          <Button
            variant="light"
            loading={change.isPending}
            disabled={Object.keys(changes).length === 0}
            onClick={() => change.mutate({ id: group.id, patch: { settings: changes } }, { onSuccess: saved })}
          >
            Save
          </Button>
        </Row>
      </Stack>
    </Fieldset>
  );
}

/** What was ticked and unticked is kept, and not what else the group may: somebody else may give it more meanwhile. */
function Permissions({ group, disabled }: { group: Group; disabled: boolean }) {
  const me = useMe().data ?? null;
  const change = useChangeGroup();
  const { draft, set, saved } = useDraft<Record<string, boolean>>({});
  const changed = Object.entries(draft).filter(([permission, wanted]) => group.permissions.includes(permission) !== wanted);
  const taken = changed.filter(([, wanted]) => !wanted).map(([permission]) => permission);
  const given = changed.filter(([, wanted]) => wanted).map(([permission]) => permission);
  const held = [...group.permissions.filter((permission) => !taken.includes(permission)), ...given];
  const touch = (next: string[]) => {
    const turned = [...next.filter((permission) => !held.includes(permission)), ...held.filter((permission) => !next.includes(permission))];
    set(Object.fromEntries(turned.map((permission) => [permission, next.includes(permission)])));
  };
  return (
    <Fieldset legend="What its members may administer" disabled={disabled}>
      <Stack gap="sm">
        <PermissionGrid held={held} mayGive={(permission) => may(me, permission)} onChange={touch} />
        {change.error && <ProblemNote error={change.error} />}
        <Row justify="flex-end">
          <Button
            variant="light"
            loading={change.isPending}
            disabled={changed.length === 0}
            onClick={() => change.mutate({ id: group.id, patch: { permissions: held } }, { onSuccess: saved })}
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
  const remove = useSetMember();
  const items = members.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Fieldset legend="Members" disabled={disabled}>
      <Stack gap="xs">
        {members.isError && <ProblemNote error={members.error} onRetry={() => void members.refetch()} />}
        {remove.error && <ProblemNote error={remove.error} />}
        {members.data && items.length === 0 && <Text size="sm" c="dimmed">Nobody yet: add them by their names.</Text>}
        {items.map((user) => (
          <Row key={user.id} justify="space-between">
            <span>{user.name}</span>
            <Button
              size="compact-sm"
              variant="subtle"
              color="red"
              aria-label={`Remove ${user.name}`}
              onClick={() => remove.mutate({ id: group.id, user: user.id, member: false })}
            >
              Remove
            </Button>
          </Row>
        ))}
        <ShowMore list={members} size="compact-sm" />
        <AddMember group={group} />
      </Stack>
    </Fieldset>
  );
}

function AddMember({ group }: { group: Group }) {
  const add = useSetMember();
  const [name, setName] = useState('');
  const problem = add.error ? asProblem(add.error) : null;
  // Nothing is sent but the name: where the server found nobody, or nobody that can belong to it, that is what is wrong.
  const aboutTheName = problem !== null && [404, 409, 422].includes(problem.details.status);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    add.mutate({ id: group.id, user: name.trim(), member: true }, { onSuccess: () => setName('') });
  };
  return (
    <form onSubmit={submit} noValidate>
      <TextInput
        label="Add somebody"
        placeholder="Their name"
        value={name}
        onChange={(event) => {
          setName(event.currentTarget.value);
          if (add.isError) add.reset();
        }}
        error={aboutTheName ? sentence(problem.details.message) : null}
        inputContainer={besideInput(
          <Button type="submit" variant="light" disabled={name.trim() === ''} loading={add.isPending}>
            Add
          </Button>,
        )}
      />
      {problem && !aboutTheName && <ProblemNote error={problem} />}
    </form>
  );
}
