import classes from './WorkspaceArt.module.css';

/** The picture on a workspace's card, or small beside its name: a screen that shows what is inside. */
export function WorkspaceArt({ icon, small = false }: { icon: string; small?: boolean }) {
  const kind = icon in scenes ? icon : 'other';
  return (
    <svg
      className={small ? classes.small : classes.large}
      data-kind={kind}
      viewBox={small ? '48 9 224 144' : '0 0 320 160'}
      preserveAspectRatio="xMidYMid slice"
      aria-hidden="true"
      focusable="false"
    >
      <rect className={classes.sky} width="320" height="160" />
      {!small && (
        <g className={classes.lines} fill="none">
          <ellipse cx="160" cy="176" rx="210" ry="150" />
          <ellipse cx="160" cy="176" rx="120" ry="150" />
          <ellipse cx="160" cy="176" rx="40" ry="150" />
        </g>
      )}
      <rect className={classes.shade} x="80" y="31" width="160" height="108" rx="9" />
      <rect className={classes.screen} x="78" y="27" width="164" height="106" rx="9" />
      {scenes[kind]}
    </svg>
  );
}

const scenes: Partial<Record<string, React.ReactNode>> = {
  desktop: (
    <g>
      <rect className={classes.bar} x="86" y="35" width="148" height="9" rx="2.5" />
      <circle className={classes.ink} cx="92" cy="39.5" r="2.2" />
      <rect className={classes.paneBack} x="140" y="54" width="84" height="58" rx="4" />
      <rect className={classes.pane} x="98" y="62" width="78" height="56" rx="4" />
      <path className={classes.stroke} d="M98 72h78M106 82h40M106 91h54M106 100h32" />
      <rect className={classes.accent} x="184" y="88" width="30" height="14" rx="3" />
    </g>
  ),
  browser: (
    <g>
      <rect className={classes.bar} x="86" y="35" width="148" height="17" rx="4" />
      <circle className={classes.accent} cx="95" cy="43.5" r="3" />
      <rect className={classes.pane} x="106" y="39" width="108" height="9" rx="4.5" />
      <circle className={classes.strokeWide} cx="160" cy="91" r="29" />
      <ellipse className={classes.stroke} cx="160" cy="91" rx="12" ry="29" />
      <path className={classes.stroke} d="M131 91h58M136 76h48M136 106h48" />
    </g>
  ),
  terminal: (
    <g>
      <rect className={classes.night} x="86" y="35" width="148" height="90" rx="5" />
      <path className={classes.prompt} d="m99 53 9 8-9 8" />
      <path className={classes.light} d="M116 69h26" />
      <path className={classes.faint} d="M99 84h74M99 95h52M99 106h64" />
      <rect className={classes.cursor} x="170" y="101" width="7" height="10" rx="1" />
    </g>
  ),
  other: (
    <g>
      <rect className={classes.pane} x="112" y="52" width="42" height="24" rx="4" />
      <rect className={classes.paneBack} x="166" y="52" width="42" height="24" rx="4" />
      <rect className={classes.paneBack} x="112" y="86" width="42" height="24" rx="4" />
      <rect className={classes.accent} x="166" y="86" width="42" height="24" rx="4" />
    </g>
  ),
};
