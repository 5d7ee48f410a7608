export default function Codes() { return <p>Codes</p>; }
