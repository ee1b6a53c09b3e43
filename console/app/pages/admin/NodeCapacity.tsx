import { Button, Fieldset, Group as Row, NumberInput, SimpleGrid, Stack, Switch, TextInput } from '@mantine/core';
import type { SubmitEvent } from 'react';
import { useChangeNode } from '../../api/deployment';
import { asProblem } from '../../api/problem';
import type { Node } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { capacityForm, capacityPatch } from './capacity';
import { labelsOf } from './listText';
import { useDraft } from './useDraft';

/** What an administrator says about an agent: what it may promise, how many sessions it takes, what it is labelled with. */
export function NodeCapacity({ node, disabled }: { node: Node; disabled: boolean }) {
  const change = useChangeNode();
  const before = capacityForm(node);
  const { form, set, saved } = useDraft(before);
  const patch = capacityPatch(form, before);
  const problem = change.error ? asProblem(change.error) : null;
  const shownAtField = problem?.details.fields.some(({ field }) => field in before) ?? false;
  const wrongLabels = labelsOf(form.labels) === null;
  const number = (field: 'cpu_override' | 'memory_mb_override' | 'gpus_override' | 'cpu_overcommit' | 'memory_overcommit' | 'session_limit', label: string, placeholder: string) => (
    <NumberInput
      label={label}
      placeholder={placeholder}
      min={0}
      value={form[field]}
      onChange={(value) => set({ [field]: value === '' ? '' : Number(value) })}
      error={problem?.at(field)}
    />
  );
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    change.mutate({ id: node.id, patch }, { onSuccess: saved });
  };
  return (
    <form onSubmit={submit} noValidate>
      <Fieldset legend="What it may promise" disabled={disabled}>
        <Stack gap="sm">
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            {number('cpu_override', 'Cores', `as it reports: ${node.cpu_total}`)}
            {number('memory_mb_override', 'Memory (MB)', `as it reports: ${node.memory_mb_total}`)}
            {number('gpus_override', 'Graphics cards', `as it reports: ${node.gpus_total}`)}
            {number('session_limit', 'Sessions at most', 'as many as fit')}
            {number('cpu_overcommit', 'CPU, times over', '1')}
            {number('memory_overcommit', 'Memory, times over', '1')}
          </SimpleGrid>
          <TextInput
            label="Labels"
            description="Such as disk=fast; workspaces may ask for them"
            value={form.labels}
            onChange={(event) => set({ labels: event.currentTarget.value })}
            error={wrongLabels ? 'Write each as name=value, with commas between.' : problem?.at('labels')}
          />
          <Switch
            label="It stays"
            aria-label="It stays"
            description="Off: it comes and goes with demand, and is filled last where the zone says so"
            checked={form.static}
            onChange={(event) => set({ static: event.currentTarget.checked })}
          />
          {problem && !shownAtField && <ProblemNote error={problem} />}
          <Row justify="flex-end">
            <Button type="submit" variant="light" loading={change.isPending} disabled={wrongLabels || Object.keys(patch).length === 0}>
              Save
            </Button>
          </Row>
        </Stack>
      </Fieldset>
    </form>
  );
}
